"""The kinds of output that the use case TOY adds to ``mlops predict``."""

from pathlib import Path


def write_spelling(predictor, request, emitter):
    documents = []
    for item in request.inputs:
        name = item.content.name if isinstance(item.content, Path) else item.content.read().decode()
        name = name[: request.options["letters"]]
        if request.options["upper-case"]:
            name = name.upper()
        if request.format == "lines":
            emitter.line((request.options["prefix"] or "") + " ".join(name))
        documents.append({"path": item.name, "letters": list(name), "classes": list(predictor.classes)})
        emitter.note(f"{item.name} is spelled")
    if request.format == "json":
        emitter.document(documents)


def write_count(predictor, request, emitter):
    if len(request.inputs) > 2:
        raise ZeroDivisionError("cannot count so far")
    emitter.line(str(len(request.inputs)))
