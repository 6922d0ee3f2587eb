"""What both programs tell who operates them: supervisor, doctor, bundle."""
