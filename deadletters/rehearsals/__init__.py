"""Running the installed handler on a letter and undoing it: the dry run, and the test that a letter is exported as."""
