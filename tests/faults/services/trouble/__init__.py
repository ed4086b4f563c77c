"""A service that exists in the tests only. It does whatever a handler should not."""
