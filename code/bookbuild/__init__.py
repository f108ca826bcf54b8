"""How the course becomes a website: execution cache, parallel execution, Sphinx extension."""
