"""From the dead queues into the database: each letter is read, completed with its recorded failure, and stored once."""
