"""What runs inside a container of any engine: the request, its execution, the verdict, and the image's content."""
