"""How the bytes of a data set arrive: downloads that resume, archives that cannot escape, commits of repositories."""
