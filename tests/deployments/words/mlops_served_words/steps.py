def generate(folder, *, seed, progress):
    for number in range(24):
        (folder / f"{number:03d}.txt").write_text("x" * (number % 12 + 1))
    progress("word", 24, 24)


def preprocess(context):
    for path in sorted(context.input("dataset").glob("*.txt")):
        length = len(path.read_text())
        (context.output("features") / path.name).write_text(f"{length} {'long' if length > 6 else 'short'}")
