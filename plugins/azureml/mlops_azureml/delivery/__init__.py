"""Files that a project needs to deliver a use case on Azure: CI files and the description of the infrastructure."""
