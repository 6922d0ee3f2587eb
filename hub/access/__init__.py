"""Who may do what: users, their keys and passwords, and how much of the hub one of them may use."""
