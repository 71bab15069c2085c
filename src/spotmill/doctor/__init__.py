"""What `spotmill doctor` looks at: the installation, the machine and the project's folder."""
