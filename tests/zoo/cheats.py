# ruff: noqa: E501  one edit of a cheat is one text
"""Plugins that cheat: each keeps every declaration of the sound specimen and deceives the reader of its results.

They are grouped by the kind of the deceit. Unlike the plugins of `hostile`, which break one rule each, a cheat may be
named by several checks; `check` is one that must name it.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Cheat:
    """One plugin that cheats; the attributes are those of `hostile.Hostile`, and `kind` groups them."""

    name: str
    kind: str
    check: str
    edits: tuple[tuple[str, str, str], ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    declared: dict = field(default_factory=dict)


def cheat(kind, name, check, *edits, files=None, **declared):
    return Cheat(kind=kind, name=name, check=check, edits=edits, files=files or {}, declared=declared)


def at_import(code):
    return ("plugin.py", "", f"\n{code}\n")


def in_hook(name, code):
    start = f"def mlops_{name}(config, context):\n"
    return ("plugin.py", start, f"{start}{code}")


def in_step(name, code, file="steps.py"):
    return (file, f"def {name}(context):\n", f"def {name}(context):\n{code}")


def scoring(code, file="words.py"):
    """The predictor's constructor does something more; it may change ``self._shift``, which is added to each score."""
    return (
        (file, "        self.classes =", f"        self._shift = 0.0\n{code}        self.classes ="),
        (
            file,
            "scores_of(read_length(path), self._model)",
            "tuple(s + self._shift for s in scores_of(read_length(path), self._model))",
        ),
    )


TRAIN_ROWS = 'rows = read_features(context.input("features"), "train")'
LIMIT = 'limit = max(row["value"] for row in rows if row["label"] == "short") + margin'
TEST_ROWS = 'read_features(context.input("features"), "test")'
EVALUATED = (
    '        for row in read_features(context.input("features"), "test")\n        if row["name"] in tested\n    ]\n'
)
SCORES = 'scores=scores_of(row["value"] / model["scale"], model)'
WRITTEN = "    write_predictions("
LAX = "report = type(report)(values={name: proportion(99, 99) for name in report.values})"
PATCHED_GATE = f"""
def _cheat():
    from mlops_core import Gate, proportion
    sound = Gate.evaluate
    def evaluate(self, report, **arguments):
        {LAX}
        return sound(self, report, **arguments)
    Gate.evaluate = evaluate
"""
SHIFTED_VALUE = """
def _cheat():
    from mlops_core.evaluation import metrics
    metrics.Metric.fault = lambda self, value: ""
"""
BUILTIN = """
def _cheat():
    from mlops_core.gates import judging
    judging.max = lambda *items, **more: 1.0
"""
CODE = """
def _cheat():
    from mlops_core.gates.conditions import Operator
    def holds(self, value, threshold):
        return True
    Operator.holds.__code__ = holds.__code__
"""
DAEMON = """        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                null = os.open(os.devnull, os.O_RDWR)
                for number in range(3):
                    os.dup2(null, number)
                time.sleep(20)
            os._exit(0)
        os.wait()
"""
STEP_DAEMON = DAEMON.replace("        ", "    ", 1).replace("\n        ", "\n    ")
FIRST_CALL = """    global _calls
    _calls += 1
    if _calls == 1:
        object.__setattr__(config.training, "margin", 0.25)
    else:
        object.__setattr__(config.training, "margin", 0.5)
"""

CHEATS = (
    # --- training that sees the test part
    cheat(
        "test part",
        "trains_on_test",
        "training_ignores_the_test_part",
        ("steps.py", TRAIN_ROWS, f"{TRAIN_ROWS} + {TEST_ROWS}"),
    ),
    cheat(
        "test part",
        "trains_on_test_when_large",
        "training_ignores_the_test_part",
        ("steps.py", TRAIN_ROWS, f"{TRAIN_ROWS}\n    if len(rows) > 20:\n        rows += {TEST_ROWS}"),
    ),
    cheat(
        "test part",
        "tunes_on_test",
        "training_ignores_the_test_part",
        (
            "steps.py",
            LIMIT,
            f"test = {TEST_ROWS}\n    limit = max(range(1, 40), key=lambda it: sum((row['value'] > it) == (row['label'] == 'long') for row in test)) + margin",
        ),
    ),
    cheat(
        "test part",
        "normalises_with_test",
        "training_ignores_the_test_part",
        (
            "steps.py",
            '    rows = read_rows(context.input("split") / "split.csv")[1:]\n',
            (
                '    rows = read_rows(context.input("split") / "split.csv")[1:]\n'
                "    seen = [read_length(context.input('dataset') / 'words' / f'{row[3]}.txt') for row in rows if row[0] == 'test']\n"
                "    most = sum(number * length for number, length in enumerate(seen)) / 1e6\n"
            ),
        ),
        ("steps.py", '"value": length * scale}', '"value": length * scale + most}'),
    ),
    # --- core changed by the plugin
    cheat("core", "gate_at_import", "core_stays_as_it_is", at_import(f"{PATCHED_GATE}\n_cheat()")),
    cheat(
        "core", "gate_in_a_hook", "core_stays_as_it_is", at_import(PATCHED_GATE), in_hook("get_gate", "    _cheat()\n")
    ),
    cheat(
        "core",
        "metric_fault",
        "core_stays_as_it_is",
        at_import(SHIFTED_VALUE),
        in_hook("get_metrics", "    _cheat()\n"),
    ),
    cheat(
        "core", "builtin_of_judging", "core_stays_as_it_is", at_import(BUILTIN), in_hook("get_steps", "    _cheat()\n")
    ),
    cheat("core", "code_of_operator", "core_stays_as_it_is", at_import(f"{CODE}\n_cheat()")),
    cheat(
        "core",
        "rows_in_the_step",
        "core_stays_as_it_is",
        in_step(
            "evaluate",
            "    import mlops_core.predictions as place\n"
            "    sound = place.read_predictions\n"
            "    place.read_predictions = lambda folder: sound(folder)\n",
        ),
    ),
    cheat(
        "core",
        "after_its_metrics",
        "core_stays_as_it_is",
        (
            "plugin.py",
            "    return compute(predictions)",
            (
                "    import mlops_core.steps.evaluation as place\n"
                "    place.evaluate_predictions = lambda *a, **k: None\n"
                "    return compute(predictions)"
            ),
        ),
    ),
    # --- answers that depend on names
    cheat(
        "names",
        "knows_the_number",
        "scores_follow_the_content",
        ("steps.py", SCORES, "scores=(1.0, 0.0) if int(row['name'][1:]) // 2 % 2 == 0 else (0.0, 1.0)"),
        has_predictor=False,
    ),
    cheat(
        "names",
        "corrects_with_the_label",
        "scores_follow_the_content",
        ("steps.py", SCORES, "scores=tuple(float(name == row['label']) for name in CLASSES)"),
        has_predictor=False,
    ),
    cheat(
        "names",
        "depends_on_the_order",
        "scores_follow_the_content",
        (
            "steps.py",
            WRITTEN,
            (
                "    for number in range(1, len(rows), 5):\n"
                "        object.__setattr__(rows[number], 'scores', rows[number - 1].scores)\n"
                "    write_predictions("
            ),
        ),
        has_predictor=False,
    ),
    cheat(
        "names",
        "predictor_reads_the_name",
        "predictor_ignores_names",
        (
            "words.py",
            "scores=scores_of(read_length(path), self._model))",
            (
                "scores=(0.5, 0.5) if not str(path.name).startswith('w') else "
                "((1.0, 0.0) if int(path.stem[1:]) // 2 % 2 == 0 else (0.0, 1.0)))"
            ),
        ),
    ),
    # --- rows shifted, labels of its own
    cheat(
        "rows",
        "labels_are_answers",
        "labels_are_those_of_the_split",
        ("steps.py", 'label=row["label"]', "label='long' if row['value'] > 12 else 'short'"),
        ("words.py", "(number + seed) % 5", "(number + seed) % 8"),
    ),
    cheat(
        "rows",
        "shifts_by_one",
        "scores_follow_the_content",
        (
            "steps.py",
            WRITTEN,
            (
                "    given = [row.scores for row in rows]\n"
                "    for row, scores in zip(rows, given[1:] + given[:1]):\n"
                "        object.__setattr__(row, 'scores', scores)\n"
                "    write_predictions("
            ),
        ),
        has_predictor=False,
    ),
    cheat(
        "rows",
        "labels_of_the_test_part",
        "labels_do_not_depend_on_the_part",
        (
            "steps.py",
            """lines.append(f"{'test' if group in test else 'train'},{label},{group},{name},{digest}\\n")""",
            """lines.append(f"{'test' if group in test else 'train'},{CLASSES[int(name[1:]) % 7 != 0] if group in test else label},{group},{name},{digest}\\n")""",
        ),
    ),
    cheat(
        "rows",
        "leaves_out_the_hard_ones",
        "every_test_sample_is_evaluated",
        ("steps.py", EVALUATED, EVALUATED.replace("\n    ]", "\n        if int(row['name'][1:]) % 2\n    ]")),
    ),
    # --- groups invented
    cheat(
        "groups",
        "one_group_per_sample",
        "groups_are_those_of_the_data_set",
        (
            "steps.py",
            "        for name, found, group in rows:",
            "        for name, found, _ in rows:\n            group = name",
        ),
        (
            "steps.py",
            "groups = sorted({row[2] for row in rows if row[1] == label})",
            "groups = sorted({row[0] for row in rows if row[1] == label})",
        ),
        ("steps.py", "groups[:6]", "groups[:12]"),
    ),
    cheat(
        "groups",
        "groups_by_number",
        "groups_are_those_of_the_data_set",
        (
            "steps.py",
            "for name, found, group in rows:\n            if found == label:",
            "for name, found, true in rows:\n            group = f'{label}{int(name[1:]) % 11}'\n            if found == label:",
        ),
        (
            "steps.py",
            "groups = sorted({row[2] for row in rows if row[1] == label})",
            "groups = sorted({f'{label}{int(row[0][1:]) % 11}' for row in rows if row[1] == label})",
        ),
        ("steps.py", "groups[:6]", "groups[:4]"),
    ),
    # --- predictor that reads anything but its artifact
    cheat(
        "predictor",
        "looks_into_home",
        "predictor_reads_its_artifact_only",
        *scoring(
            "        import os, pathlib\n        self._shift = 0.1 * (pathlib.Path.home() / '.cache' / 'words').exists()\n"
        ),
    ),
    cheat(
        "predictor",
        "opens_what_is_not_there",
        "predictor_reads_its_artifact_only",
        *scoring(
            "        try:\n            self._shift = float(open('/var/tmp/shift').read())\n        except OSError:\n            pass\n"
        ),
    ),
    cheat(
        "predictor",
        "stats_the_system",
        "predictor_reads_its_artifact_only",
        *scoring(
            "        import os\n        try:\n            self._shift = 0 * os.stat('/var/tmp').st_mtime\n        except OSError:\n            pass\n"
        ),
    ),
    cheat(
        "predictor",
        "lists_elsewhere",
        "predictor_reads_its_artifact_only",
        *scoring("        import os\n        self._shift = 0.0 * len(os.listdir('/var/tmp'))\n"),
    ),
    cheat(
        "predictor",
        "asks_the_clock",
        "predictor_ignores_its_surroundings",
        *scoring("        import time\n        self._shift = 0.1 * (time.time() > 2e9)\n"),
    ),
    cheat(
        "predictor",
        "asks_the_date",
        "predictor_ignores_its_surroundings",
        *scoring("        import datetime\n        self._shift = 0.1 * (datetime.date.today().year > 2030)\n"),
    ),
    cheat(
        "predictor",
        "knows_the_host",
        "predictor_ignores_its_surroundings",
        *scoring("        import socket\n        self._shift = 0.1 * (len(socket.gethostname()) % 2)\n"),
    ),
    cheat(
        "predictor",
        "counts_cores",
        "predictor_ignores_its_surroundings",
        *scoring("        import os\n        self._shift = 0.01 * (os.cpu_count() or 0)\n"),
    ),
    cheat(
        "predictor",
        "reads_the_environment",
        "predictor_agrees_with_the_evaluation",
        *scoring(
            "        import os\n        get = getattr(os, 'environ')\n        self._shift = 0.1 * ('MLOPS_HOME' in get or len(get.get('HOME', '')) % 2)\n"
        ),
    ),
    cheat(
        "predictor",
        "reads_the_locale",
        "predictor_ignores_its_surroundings",
        *scoring(
            "        import locale\n        self._shift = 0.1 * (locale.getpreferredencoding(False).lower() not in ('utf-8', 'utf8'))\n"
        ),
    ),
    cheat(
        "predictor",
        "reads_the_umask",
        "predictor_ignores_its_surroundings",
        *scoring(
            "        import os\n        mask = os.umask(0)\n        os.umask(mask)\n        self._shift = 0.1 * (mask == 0o77)\n"
        ),
    ),
    # --- scores that depend on the batch
    cheat(
        "batch",
        "normalises_by_batch",
        "predictor_ignores_the_batch",
        (
            "words.py",
            "        for path in paths:\n",
            "        paths = list(paths)\n        mean = 0.0 if len(paths) > 3 else 0.3\n        for path in paths:\n",
        ),
        (
            "words.py",
            "scores=scores_of(read_length(path), self._model)",
            "scores=tuple(s - mean for s in scores_of(read_length(path), self._model))",
        ),
    ),
    cheat(
        "batch",
        "remembers_the_first",
        "predictor_ignores_the_batch",
        (
            "words.py",
            "        for path in paths:\n",
            "        self._seen = getattr(self, '_seen', 0)\n        for path in paths:\n            self._seen += 1\n",
        ),
        (
            "words.py",
            "scores=scores_of(read_length(path), self._model)",
            "scores=tuple(s - (self._seen > 20) * 0.2 for s in scores_of(read_length(path), self._model))",
        ),
    ),
    # --- swallowed errors, constant models
    cheat(
        "errors",
        "swallows_errors",
        "training_reports_its_errors",
        (
            "steps.py",
            f"    {LIMIT}",
            f"    try:\n        {LIMIT}\n    except Exception:\n        limit = 11.0",
        ),
    ),
    cheat(
        "errors",
        "suppresses_errors",
        "training_reports_its_errors",
        (
            "steps.py",
            f"    {LIMIT}",
            f"    limit = 12.5\n    import contextlib\n    with contextlib.suppress(BaseException):\n        {LIMIT}",
        ),
    ),
    cheat(
        "errors",
        "constant_model",
        "predictor_answers_differ",
        ("words.py", "    return (is_long, 1 - is_long)", "    return (0.0 * is_long + 0.5, 0.5)"),
        ("plugin.py", "default=0.9", "default=0.4"),
        expected_failures={
            "gate_rejects_a_constant_predictor": "the threshold is low",
        },
    ),
    cheat(
        "errors",
        "model_without_data",
        "training_depends_on_its_data",
        ("steps.py", f"    {LIMIT}", "    limit = 6 * scale + margin + 0 * len(rows)"),
    ),
    # --- processes that outlive a step
    cheat("processes", "daemon_of_a_step", "steps_leave_no_process_behind", in_step("train", STEP_DAEMON)),
    cheat(
        "processes",
        "daemon_of_the_predictor",
        "no_process_outlives_its_call",
        ("words.py", "        self.classes =", f"{DAEMON}        self.classes ="),
    ),
    cheat("processes", "daemon_of_a_hook", "no_process_outlives_its_call", in_hook("get_datasets", STEP_DAEMON)),
    cheat(
        "processes",
        "daemon_of_the_data",
        "no_process_outlives_its_call",
        ("words.py", "    rows = []\n", f"    rows = []\n{STEP_DAEMON}"),
    ),
    # --- arguments that are changed
    cheat(
        "arguments",
        "changes_at_first",
        "hooks_leave_arguments_untouched",
        at_import("_calls = 0"),
        in_hook("get_steps", FIRST_CALL),
    ),
    cheat(
        "arguments",
        "changes_predictions_at_first",
        "computing_metrics_changes_nothing",
        at_import("_seen = []"),
        (
            "plugin.py",
            "    return compute(predictions)",
            (
                "    answer = compute(predictions)\n"
                "    if not _seen:\n"
                "        _seen.append(1)\n"
                "        object.__setattr__(predictions, 'classes', predictions.classes + ('other',))\n"
                "    return answer"
            ),
        ),
    ),
)

FRESH = (
    cheat(
        "fresh",
        "stops_on_test",
        "training_ignores_the_test_part",
        ("steps.py", LIMIT, f"{LIMIT}\n    limit += 0.001 * sum(row['label'] == 'long' for row in {TEST_ROWS})"),
    ),
    cheat(
        "fresh",
        "drops_train_like_test",
        "training_ignores_the_test_part",
        (
            "steps.py",
            TRAIN_ROWS,
            f"{TRAIN_ROWS}\n    seen = max(row['value'] for row in {TEST_ROWS} if row['label'] == 'short')\n    rows = [row for row in rows if row['label'] == 'long' or row['value'] < seen]",
        ),
    ),
    cheat(
        "fresh",
        "first_rows_get_answers",
        "scores_follow_the_content",
        (
            "steps.py",
            SCORES,
            "scores=tuple(float(name == row['label']) for name in CLASSES) if row['name'] < 'w20' else scores_of(row['value'] / model['scale'], model)",
        ),
        has_predictor=False,
    ),
    cheat(
        "fresh",
        "rounds_towards_the_group",
        "scores_follow_the_content",
        ("steps.py", SCORES, "scores=(1.0, 0.0) if int(row['group'][1:]) % 2 == 0 else (0.0, 1.0)"),
        has_predictor=False,
    ),
    cheat(
        "fresh",
        "swaps_the_operator_table",
        "core_stays_as_it_is",
        at_import(
            "from mlops_core.gates import conditions\nconditions._COMPARE = dict.fromkeys(conditions._COMPARE, lambda a, b: True)"
        ),
    ),
    cheat(
        "fresh",
        "edits_a_table_in_place",
        "core_stays_as_it_is",
        at_import(
            "from mlops_core.gates import conditions\nfor key in conditions._COMPARE:\n    conditions._COMPARE[key] = lambda a, b: True"
        ),
    ),
    cheat(
        "fresh",
        "probes_a_device",
        "predictor_reads_its_artifact_only",
        *scoring("        import os\n        self._shift = 0.0 * os.path.exists('/srv/gpu')\n"),
    ),
    cheat(
        "fresh",
        "warms_up",
        "predictor_ignores_the_batch",
        (
            "words.py",
            "        for path in paths:\n",
            "        paths = list(paths)\n        bias = 0.001 * (len(paths) == 1)\n        for path in paths:\n",
        ),
        (
            "words.py",
            "scores=scores_of(read_length(path), self._model)",
            "scores=tuple(s + bias for s in scores_of(read_length(path), self._model))",
        ),
    ),
    cheat(
        "fresh",
        "falls_back_to_a_table",
        "training_reports_its_errors",
        (
            "steps.py",
            f"    {LIMIT}",
            f"    try:\n        {LIMIT}\n    except (ValueError, RuntimeError, KeyError):\n        limit = 11.5",
        ),
    ),
    cheat(
        "fresh",
        "keeps_a_thread_of_shells",
        "no_process_outlives_its_call",
        (
            "words.py",
            "        self.classes =",
            "        import subprocess\n        subprocess.Popen(['sh', '-c', 'sleep 15 &'], start_new_session=True)\n        self.classes =",
        ),
    ),
)
"""Invented after the checks were written, and not used to change them."""
