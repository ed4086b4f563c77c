def measure(stage, scale): raise NotImplementedError
