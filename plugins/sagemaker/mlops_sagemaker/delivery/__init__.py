"""What a project needs to deliver a use case: the files of a CI service, and the image in which its steps run."""
