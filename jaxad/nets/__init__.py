"""Networks and their pure parts: no losses, no configs."""
