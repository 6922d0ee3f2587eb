"""How a node decides on an invitation: checks, room, the owner's hooks; values in, a decision out."""
