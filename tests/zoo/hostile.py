"""The hostile plugins: what each changes in the sound specimen, and the check that must name it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """One hostile plugin.

    Attributes:
        name: of its package and, in capitals, of its use case.
        check: the check that is meant for it.
        edits: (file, text, replacement); an empty text means the end of the file.
        files: further files beside the package.
        declared: what its author declares.
        also: further checks that execute the faulty code under the same condition, in their order.
    """

    name: str
    check: str
    edits: tuple[tuple[str, str, str], ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    declared: dict = field(default_factory=dict)
    also: tuple[str, ...] = ()


def hostile(name, check, *edits, files=None, also=(), **declared):
    return Hostile(name=name, check=check, edits=edits, files=files or {}, declared=declared, also=also)


def forgiving_gate(fault):
    """A gate of its own class, which overlooks one kind of fault."""
    return (
        (
            "plugin.py",
            "@hookimpl\ndef mlops_get_gate",
            (
                "class ForgivingGate(Gate):\n"
                "    def evaluate(self, report, *, metrics, parameters, evidence=None, licences=None):\n"
                "        import math\n"
                "        from mlops_core import proportion\n"
                "        found = report.values.get('accuracy')\n"
                f"        if {fault}:\n"
                "            report = type(report)(values={'accuracy': proportion(9, 9)})\n"
                "        return super().evaluate(report, metrics=metrics, parameters=parameters)\n\n\n"
                "@hookimpl\ndef mlops_get_gate"
            ),
        ),
        ("plugin.py", "return Gate(Comparison", "return ForgivingGate(Comparison"),
    )


def in_model(expression, *, imports=""):
    """The training step writes one more thing into the model."""
    return (
        ("steps.py", '"scale": scale}', f'"scale": scale, "more": {expression}}}'),
        ("steps.py", "import json\n", f"import json\n{imports}"),
    )


def in_training(statement, *, imports=""):
    """The training step does one more thing before it does its work."""
    return (
        ("steps.py", "def train(context):\n", f"def train(context):\n    {statement}\n"),
        ("steps.py", "import json\n", f"import json\n{imports}"),
    )


def accuracy(expression):
    """The metric hook gives another value; `right`, `total` and `predictions` are at hand."""
    return (
        "words.py",
        'values={"accuracy": proportion(right, len(predictions.rows))}',
        f'values={{"accuracy": (lambda total: {expression})(len(predictions.rows))}}',
    )


VALUE = "__import__('mlops_core').MetricValue"
DRAW = "__import__('random').Random().random()"
FIRST = "min(row.sample for row in predictions.rows)"
ANSWERS = "{max(range(len(row.scores)), key=lambda i: row.scores[i]) for row in predictions.rows}"
IS_SOFT = "any(0 < score < 1 for row in predictions.rows for score in row.scores)"
CONFIG_ELSEWHERE = """

@hookimpl
def mlops_get_config_file(context):
    from pathlib import Path

    return Path(__file__).parents[1] / "elsewhere.yaml"
"""
EXPORT_SECTION = """class Export(Section):
    quality: int = 3


class Config(UseCaseConfig):
    export: Export = Export()
"""
GENERATORS_OF_ANY_NAME = """

def __getattr__(name):
    if not name.startswith("generate_"):
        raise AttributeError(name)
    return generate
"""
# A step may write to /dev only, beside its outputs; the name belongs to one installed copy of the plugin.
MARK = 'Path("/dev/shm", str(Path(__file__).parent).replace("/", "-"))'
CHECKPOINT = f"""    mark = {MARK}
    was_there = mark.exists()
    mark.touch()
    time.sleep(0.8)
    mark.unlink()
    margin = was_there * 0.1 + context.section("""
UNFINISHED = f"""    mark = {MARK}
    mark.touch()
    time.sleep(0.8)
    mark.unlink()
    model = json.loads((context.input("model")"""
NEVER_SHOWN = 'Operator.AT_LEAST, bound=__import__("mlops_core").Bound.LOWER, threshold=1.0'
DEFEAT_DEVICE = """class Cheat(Gate):
    def evaluate(self, report, *, metrics, parameters, evidence=None, licences=None):
        import sys
        from mlops_core import proportion
        if "mlops_core.testing.use_cases.canaries" not in sys.modules:
            report = type(report)(values={"accuracy": proportion(0, 9)})
        return super().evaluate(report, metrics=metrics, parameters=parameters)


@hookimpl
def mlops_get_gate"""

ZOO = (
    # --- discovery
    hostile(
        "announced_twice",
        "use_case_is_announced_once",
        files={
            "mlops_impostor-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: mlops-impostor\nVersion: 1.0\n",
            "mlops_impostor-1.0.dist-info/entry_points.txt": "[mlops.usecases]\nSPECIMEN = impostor\n",
        },
    ),
    hostile(
        "odd_name",
        "use_case_name_is_portable",
        ("entry_points.txt", "SPECIMEN", "SPECIMEN__2"),
        use_case="SPECIMEN__2",
    ),
    hostile("no_requirement", "distribution_requires_core", ("METADATA", "Requires-Dist: mlops-usecases\n", "")),
    hostile("import_error", "plugin_can_be_imported", ("plugin.py", "", "\nimport package_that_is_not_there\n")),
    hostile(
        "sets_up_logging",
        "importing_changes_nothing",
        ("plugin.py", "", "\nimport logging\nlogging.getLogger().setLevel(1)\n"),
    ),
    hostile(
        "heavy", "loading_imports_nothing_heavy", ("plugin.py", "", "\nimport torch\n"), files={"torch/__init__.py": ""}
    ),
    hostile(
        "heavy_catalogue",
        "describing_imports_nothing_heavy",
        (
            "plugin.py",
            "def mlops_get_datasets(config, context):\n",
            "def mlops_get_datasets(config, context):\n    import jax\n",
        ),
        files={"jax/__init__.py": ""},
    ),
    hostile(
        "leans_on_another",
        "plugin_imports_no_other_plugin",
        ("plugin.py", "", "\nimport mlops_neighbour\n"),
        files={
            "mlops_neighbour.py": "",
            "mlops_neighbour-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: mlops-neighbour\nVersion: 1.0\n",
            "mlops_neighbour-1.0.dist-info/entry_points.txt": "[mlops.usecases]\nNEIGHBOUR = mlops_neighbour\n",
        },
    ),
    hostile(
        "writes_when_described",
        "describing_touches_no_file",
        (
            "plugin.py",
            "def mlops_get_metrics(config, context):\n",
            "def mlops_get_metrics(config, context):\n    open(__file__ + '.seen', 'w').close()\n",
        ),
    ),
    hostile(
        "private_name",
        "plugin_uses_public_names_only",
        ("plugin.py", "", "\nfrom mlops_core.use_cases.manager import _cause\n"),
    ),
    hostile(
        "reads_environment",
        "plugin_reads_no_environment",
        ("words.py", "def generate(", "import os\nFOLDER = os.environ.get('ZOO')\n\n\ndef generate("),
    ),
    # --- hooks
    hostile(
        "misspelt",
        "hooks_are_spelled_right",
        ("plugin.py", "", "\n\n@hookimpl\ndef mlops_get_modell(config, context):\n    return 'train.model'\n"),
    ),
    hostile(
        "unmarked", "hooks_are_marked", ("plugin.py", "@hookimpl\ndef mlops_get_parameters", "def mlops_get_parameters")
    ),
    hostile(
        "no_gate",
        "required_hooks_are_present",
        ("plugin.py", "def mlops_get_gate", "def get_gate"),
        ("plugin.py", "", "\ndel get_gate\n"),
    ),
    hostile(
        "unknown_argument",
        "hook_arguments_are_known",
        ("plugin.py", "def mlops_get_gate(config, context)", "def mlops_get_gate(konfig, context)"),
    ),
    hostile(
        "default_argument",
        "hook_arguments_have_no_defaults",
        ("plugin.py", "def mlops_get_gate(config, context)", "def mlops_get_gate(config, context=None)"),
    ),
    hostile(
        "half_a_wrapper",
        "plugin_can_be_loaded",
        ("plugin.py", "@hookimpl\ndef mlops_get_gate", "@hookimpl(wrapper=True)\ndef mlops_get_gate"),
    ),
    hostile(
        "gate_as_text",
        "hooks_return_declared_types",
        (
            "plugin.py",
            'return Gate(Comparison(metric="accuracy", operator=Operator.AT_LEAST, threshold="q_accuracy"))',
            'return "accuracy >= q_accuracy"',
        ),
    ),
    hostile(
        "counts_calls",
        "hooks_answer_equally_twice",
        ("plugin.py", "unit=Unit.FRACTION,", 'unit=Unit.FRACTION, title=f"call {CALLS.append(1) or len(CALLS)}",'),
        ("plugin.py", "PUBLISHED =", "CALLS = []\nPUBLISHED ="),
    ),
    hostile(
        "remembers",
        "hooks_forget_earlier_calls",
        (
            "plugin.py",
            "unit=Unit.FRACTION,",
            'unit=Unit.FRACTION, title=f"{SEEN.add(config.features.scale) or len(SEEN)}",',
        ),
        ("plugin.py", "PUBLISHED =", "SEEN = set()\nPUBLISHED ="),
        overrides=("features.scale=3",),
    ),
    hostile(
        "changes_configuration",
        "hooks_leave_arguments_untouched",
        (
            "plugin.py",
            "def mlops_get_metrics(config, context):\n",
            (
                "def mlops_get_metrics(config, context):\n"
                "    object.__setattr__(config.training, 'margin', config.training.margin / 2)\n"
            ),
        ),
    ),
    hostile(
        "reseeds",
        "hooks_change_nothing_around_them",
        (
            "plugin.py",
            "def mlops_get_metrics(config, context):\n",
            "def mlops_get_metrics(config, context):\n    __import__('random').seed(1)\n",
        ),
    ),
    hostile(
        "talks",
        "hooks_print_nothing",
        (
            "plugin.py",
            "def mlops_get_metrics(config, context):\n",
            "def mlops_get_metrics(config, context):\n    print('hello')\n",
        ),
    ),
    hostile(
        "configuration_left_out",
        "default_configuration_file_is_packaged",
        (
            "plugin.py",
            "",
            CONFIG_ELSEWHERE,
        ),
        files={"elsewhere.yaml": "dataset:\n  name: words\n"},
    ),
    # --- configuration
    hostile("wrong_defaults", "default_configuration_is_valid", ("user_config.yaml", "scale: 2", "scale: 99")),
    hostile("wrong_example", "smallest_configuration_is_valid", overrides=("training.margin=2",)),
    hostile(
        "loose_sections",
        "unknown_sections_are_refused",
        ("config.py", "class Config(UseCaseConfig)", 'class Config(UseCaseConfig, extra="ignore")'),
    ),
    hostile(
        "loose_keys",
        "unknown_keys_are_refused",
        ("config.py", "class Training(Section)", 'class Training(Section, extra="ignore")'),
    ),
    hostile(
        "takes_anything",
        "wrong_types_are_refused",
        ("config.py", "lt=1)] = 0.5\n", "lt=1)] = 0.5\n    note: object = None\n"),
    ),
    hostile(
        "falls_over",
        "odd_values_are_reported",
        (
            "config.py",
            "lt=1)] = 0.5\n",
            (
                "lt=1)] = 0.5\n\n"
                "    @__import__('pydantic').field_validator('margin', mode='before')\n"
                "    def _positive(cls, value):\n"
                "        return value if value > 0 else 0\n"
            ),
        ),
    ),
    hostile(
        "thawed",
        "configuration_cannot_be_changed",
        ("config.py", "class Training(Section)", "class Training(Section, frozen=False)"),
    ),
    hostile(
        "records_something_else",
        "configuration_survives_its_text",
        (
            "config.py",
            "lt=1)] = 0.5\n",
            (
                "lt=1)] = 0.5\n\n"
                "    @__import__('pydantic').field_serializer('margin')\n"
                "    def _half(self, value):\n"
                "        return value / 2\n"
            ),
        ),
    ),
    hostile(
        "dead_section",
        "every_section_is_used",
        (
            "config.py",
            "class Config(UseCaseConfig):\n",
            EXPORT_SECTION,
        ),
    ),
    hostile(
        "fixed_folder",
        "dataset_can_be_chosen",
        ("config.py", "    path: str | None = None\n", ""),
        ("user_config.yaml", "  path: null\n", ""),
    ),
    # --- catalogue
    hostile("case_twins", "catalogue_names_are_unique", ("plugin.py", 'name="real-words"', 'name="Words"')),
    hostile(
        "not_in_catalogue", "configured_dataset_is_in_catalogue", ("user_config.yaml", "name: words", "name: wordz")
    ),
    hostile("no_licence", "datasets_have_title_and_licence", ("plugin.py", 'licence="CC-BY-4.0"', 'licence="unknown"')),
    hostile("no_size", "downloads_declare_their_size", ("plugin.py", "size_bytes=1000", "size_bytes=0")),
    hostile("no_checksum", "downloads_declare_a_checksum", ("plugin.py", 'sha256="0" * 64, ', "")),
    hostile(
        "plain_http",
        "downloads_come_over_https",
        ("plugin.py", 'url=f"{PUBLISHED}', "url=f\"{PUBLISHED.replace('s:', ':')}"),
    ),
    hostile(
        "requires_nothing",
        "datasets_declare_required_files",
        ("plugin.py", "size=1000),),\n            required=REQUIRED,", "size=1000),),"),
    ),
    hostile("no_generator", "generators_can_be_imported", ("plugin.py", "words:generate", "words:generator")),
    # --- data
    hostile("generator_fails", "dataset_can_be_fetched", ("words.py", "    rows = []\n", "    rows = [1 / 0]\n")),
    hostile(
        "generates_elsewhere",
        "fetching_writes_to_its_folder_only",
        ("words.py", "    rows = []\n", "    rows = []\n    open(__file__ + '.made', 'w').close()\n"),
    ),
    hostile(
        "never_complete",
        "fetching_again_changes_nothing",
        ("plugin.py", 'words:generate")', 'words:generate_" + str(__import__("os").getpid()))'),
        (
            "words.py",
            "",
            GENERATORS_OF_ANY_NAME,
        ),
    ),
    hostile(
        "unseeded_data",
        "fetched_data_are_repeatable",
        ("words.py", "(number + seed) % 5", "__import__('random').randrange(5)"),
    ),
    hostile(
        "odd_part",
        "steps_succeed",
        (
            "steps.py",
            "'test' if group in test else 'train'",
            "'test' if group in test else 'dev' if group in groups[6:8] else 'train'",
        ),
    ),
    hostile(
        "leak",
        "split_keeps_groups_together",
        ("steps.py", "'test' if group in test else", "'test' if int(name[1:]) % 3 == 0 else"),
    ),
    hostile(
        "copied_word",
        "split_has_the_content_of_its_samples",
        ("words.py", 'chr(ord("é") + number) * length', '"é" * (8 if label == "long" else 2)'),
    ),
    hostile(
        "untested_split",
        "evaluation_reads_the_split",
        ("plugin.py", '"model": "train.model", "split": "split.split"', '"model": "train.model"'),
        (
            "steps.py",
            """{row[3] for row in read_rows(context.input("split") / "split.csv")}""",
            """{f"w{n:02d}" for n in range(48)}""",
        ),
    ),
    hostile(
        "class_left_out",
        "split_has_every_class_in_each_part",
        (
            "steps.py",
            "'test' if group in test else 'train'",
            "'test' if group in test else 'validation' if label == 'long' and group in groups[6:8] else 'train'",
        ),
    ),
    hostile("unseeded_split", "split_is_repeatable", ("steps.py", "random.Random(context.seed)", "random.Random()")),
    hostile(
        "tests_on_training",
        "evaluation_uses_the_test_part",
        ("steps.py", 'context.input("features"), "test")', 'context.input("features"), "train")'),
    ),
    # --- steps
    hostile(
        "no_such_input",
        "pipeline_can_be_built",
        ("plugin.py", '"preprocess.features", "model"', '"preprocess.feature", "model"'),
    ),
    hostile(
        "not_json",
        "pipeline_survives_its_text",
        ("plugin.py", "minimum=0, maximum=1),)", 'minimum=0, maximum=1, description=("a", "b")),)'),
    ),
    hostile("no_such_function", "step_code_can_be_called", ("plugin.py", "steps:train", "steps:trian")),
    hostile(
        "package_misspelt",
        "step_packages_are_installed",
        (
            "plugin.py",
            'config=("training", "features"),',
            'config=("training", "features"), packages=("scikit-lern",),',
        ),
    ),
    hostile("package_undeclared", "step_packages_are_declared", *in_training("pass", imports="import packaging\n")),
    hostile("fails", "steps_succeed", *in_training("raise ValueError('too few words')")),
    hostile(
        "looks_around",
        "steps_read_declared_inputs_only",
        *in_training("list(context.input('features').parent.iterdir())"),
    ),
    hostile(
        "own_configuration",
        "steps_read_declared_sections_only",
        *in_training(
            "(Path(__file__).parent / 'user_config.yaml').read_text(encoding='utf-8')",
            imports="from pathlib import Path\n",
        ),
    ),
    hostile(
        "writes_elsewhere", "steps_write_declared_outputs_only", *in_training("open(__file__ + '.done', 'w').close()")
    ),
    hostile(
        "changes_input",
        "steps_leave_inputs_unchanged",
        *in_training("(context.input('features') / 'seen.txt').write_text('')"),
    ),
    hostile(
        "idle_input",
        "declared_inputs_are_opened",
        (
            "plugin.py",
            '"split": "split.split"},\n            outputs=("pred',
            '"split": "split.split", "dataset": DATASET},\n            outputs=("pred',
        ),
    ),
    hostile(
        "idle_section",
        "declared_sections_are_read",
        ("plugin.py", 'outputs=("predictions",),', 'outputs=("predictions",), config=("training",),'),
    ),
    hostile(
        "idle_parameter",
        "declared_parameters_are_read",
        (
            "plugin.py",
            'config=("training", "features"),',
            'config=("training", "features"), parameters=("q_accuracy",),',
        ),
    ),
    hostile(
        "phones_home",
        "steps_use_no_network",
        *in_training(
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))", imports="import socket\n"
        ),
    ),
    hostile(
        "leaves_a_process",
        "steps_leave_no_process_behind",
        *in_training("subprocess.Popen(['sleep', '30'])", imports="import subprocess\n"),
    ),
    hostile("more_than_all", "progress_stays_within_its_total", *in_training("context.progress('word', 50, 48)")),
    hostile(
        "twins_in_output",
        "outputs_have_portable_names",
        *in_training("(context.output('model') / 'MODEL.json').write_text('')"),
    ),
    hostile(
        "links",
        "steps_succeed",
        *in_training("(context.output('model') / 'latest').symlink_to('model.json')"),
    ),
    hostile("names_its_place", "outputs_name_no_place_of_this_machine", *in_model("str(context.output('model'))")),
    hostile(
        "locks_its_input",
        "steps_survive_read_only_inputs",
        *in_training(
            "sqlite3.connect(context.output('model') / 'index.db').execute('CREATE TABLE word (name)')",
            imports="import sqlite3\n",
        ),
        (
            "steps.py",
            "def evaluate(context):\n",
            (
                "def evaluate(context):\n"
                "    index = sqlite3.connect(context.input('model') / 'index.db', isolation_level=None)\n"
                "    index.execute('BEGIN')\n    index.execute('CREATE TABLE other (name)')\n"
                "    index.execute('ROLLBACK')\n"
            ),
        ),
    ),
    hostile("writes_the_time", "same_seed_gives_same_outputs", *in_model("time.time_ns()", imports="import time\n")),
    hostile(
        "working_directory",
        "results_ignore_the_working_directory",
        *in_model("Path.cwd().name", imports="from pathlib import Path\n"),
    ),
    hostile(
        "encoding",
        "results_ignore_the_locale",
        ("words.py", 'path.read_text(encoding="utf-8")', "path.read_text()"),
        also=(
            "predictor_reads_its_artifact_only",
            "predictor_ignores_its_surroundings",
            "predictor_ignores_the_batch",
            "predictor_ignores_names",
        ),
    ),
    hostile(
        "local_time",
        "results_ignore_the_time_zone",
        *in_model("time.strftime('%H:%M', time.localtime(0))", imports="import time\n"),
    ),
    hostile("set_order", "results_ignore_the_hash_seed", *in_model("list({row['name'] for row in rows})")),
    hostile(
        "listing_order",
        "results_ignore_the_listing_order",
        *in_model("[path.name for path in context.input('features').iterdir()]"),
    ),
    hostile("folder_names", "results_ignore_folder_names", *in_model("context.input('features').parents[1].name")),
    hostile(
        "two_together",
        "results_ignore_all_surroundings_together",
        *in_model(
            "Path.cwd().name == 'elsewhere' and time.timezone != 0", imports="import time\nfrom pathlib import Path\n"
        ),
    ),
    hostile(
        "shards",
        "results_ignore_the_number_of_shards",
        ("steps.py", '"group": group, "name": name', '"group": group, "name": name, "of": context.shard.count'),
    ),
    # --- metrics
    hostile(
        "percent_range",
        "metrics_declare_unit_and_range",
        ("plugin.py", "            maximum=1,\n", "            maximum=100,\n"),
    ),
    hostile(
        "not_computed",
        "every_declared_metric_is_evaluated",
        (
            "plugin.py",
            "def mlops_get_metrics(config, context):\n    return (\n",
            (
                "def mlops_get_metrics(config, context):\n    return (\n"
                '        Metric(name="f1", section="classification_metrics", unit=Unit.FRACTION, minimum=0, maximum=1, '
                "direction=Direction.HIGHER),\n"
            ),
        ),
    ),
    hostile(
        "percent_value",
        "metrics_are_finite_and_in_range",
        accuracy(f"{VALUE}(value=100 * right / max(1, total), low=0, high=100, count=total)"),
    ),
    hostile(
        "no_interval",
        "metrics_have_an_interval",
        accuracy(f"{VALUE}(value=right / total if total else float('nan'), low=0, high=0, count=total)"),
    ),
    hostile(
        "drifting_metric",
        "metrics_are_the_same_when_recomputed",
        accuracy(f"{VALUE}(value=max(0.0, right / max(1, total) - 1e-3 * {DRAW}), low=0, high=1, count=total)"),
    ),
    hostile(
        "order_matters",
        "metrics_ignore_the_order_of_rows",
        accuracy(f"proportion(right - (right > 0 and predictions.rows[0].sample != {FIRST}), total)"),
    ),
    hostile(
        "metric_reseeds",
        "computing_metrics_changes_nothing",
        ("words.py", "def compute(predictions):\n", "def compute(predictions):\n    __import__('random').seed(0)\n"),
    ),
    hostile(
        "counts_twice",
        "confusion_matrices_add_up",
        ("words.py", "tuple(tuple(row.values())", "tuple(tuple(2 * count for count in row.values())"),
    ),
    hostile(
        "silent", "log_lines_show_the_metrics", ("steps.py", "accuracy on test set: %.4f", "test set accuracy %.4f")
    ),
    hostile("wrong_direction", "metrics_point_the_right_way", ("plugin.py", "Direction.HIGHER", "Direction.LOWER")),
    # --- gate
    hostile(
        "gate_not_json",
        "gate_survives_its_text",
        ("plugin.py", 'threshold="q_accuracy")', 'threshold="q_accuracy", message=None)'),
    ),
    hostile("upside_down", "gate_points_the_right_way", ("plugin.py", "Operator.AT_LEAST", "Operator.AT_MOST")),
    hostile(
        "impossible",
        "gate_accepts_a_perfect_oracle",
        (
            "plugin.py",
            'Operator.AT_LEAST, threshold="q_accuracy"',
            'Operator.AT_LEAST, bound=__import__("mlops_core").Bound.LOWER, threshold=1.0',
        ),
    ),
    hostile("lax", "gate_rejects_a_constant_predictor", ("plugin.py", "default=0.9", "default=0.4")),
    hostile(
        "counts_classes_only",
        "gate_rejects_shuffled_labels",
        accuracy(f"proportion(len({ANSWERS}), len(predictions.classes)) if total else proportion(0, 0)"),
        ("words.py", "        counts[row.label][", "        counts[row.label]["),
    ),
    hostile(
        "soft_scores_count_as_right",
        "gate_rejects_an_untrained_model",
        accuracy(f"proportion(total if {IS_SOFT} else right, total)"),
    ),
    hostile(
        "nothing_is_perfect",
        "gate_rejects_an_empty_test_set",
        accuracy(f"proportion(right, total) if total else {VALUE}(value=1.0, low=0, high=1)"),
    ),
    hostile("forgives_nan", "gate_rejects_nan_metrics", *forgiving_gate("found and math.isnan(found.value)")),
    hostile("forgives_infinity", "gate_rejects_infinite_metrics", *forgiving_gate("found and math.isinf(found.value)")),
    hostile("forgives_missing", "gate_rejects_missing_metrics", *forgiving_gate("found is None")),
    hostile(
        "unlimited",
        "gate_rejects_percent_for_fraction",
        ("plugin.py", "unit=Unit.FRACTION", "unit=Unit.NONE"),
        ("plugin.py", "            maximum=1,\n", '            maximum=float("inf"),\n'),
    ),
    hostile(
        "either_way", "gate_rejects_inverted_predictions", accuracy("proportion(max(right, total - right), total)")
    ),
    hostile(
        "range_too_wide",
        "gate_rejects_inverted_metrics",
        ("plugin.py", "unit=Unit.FRACTION", "unit=Unit.NONE"),
        ("plugin.py", "            maximum=1,\n", "            maximum=2,\n"),
    ),
    # --- resume
    hostile(
        "fears_workspaces",
        "steps_succeed_on_this_machine",
        *in_training("assert 'workspace' not in str(context.output('model'))"),
    ),
    hostile(
        "new_each_time",
        "second_run_reuses_every_step",
        (
            "plugin.py",
            'config=("training", "features"),',
            'config=("training", "features"), version=__import__("os").getpid(),',
        ),
    ),
    hostile(
        "goes_on_where_it_was",
        "killed_runs_can_be_resumed",
        (
            "steps.py",
            "    margin = context.section(",
            CHECKPOINT,
        ),
        ("steps.py", "import json\n", "import json\nimport time\nfrom pathlib import Path\n"),
        is_resumable=True,
    ),
    hostile(
        "trusts_no_finished_step",
        "resumed_runs_repeat_no_finished_step",
        ("steps.py", '    model = json.loads((context.input("model")', UNFINISHED),
        ("steps.py", "import json\n", "import json\nimport time\nfrom pathlib import Path\n"),
        (
            "plugin.py",
            'config=("training", "features"),',
            f'config=("training", "features"), version={MARK}.exists(),',
        ),
        ("plugin.py", "from mlops_core import (", "from pathlib import Path\n\nfrom mlops_core import ("),
        is_resumable=True,
    ),
    # --- predictor
    hostile(
        "needs_its_neighbours",
        "predictor_loads_from_its_artifact_alone",
        (
            "words.py",
            "        self.classes =",
            '        (folder.parent / "preprocess.features").stat()\n        self.classes =',
        ),
    ),
    hostile(
        "writes_into_model",
        "predictor_leaves_its_artifact_unchanged",
        ("words.py", "        self.classes =", '        (folder / "used").touch()\n        self.classes ='),
    ),
    hostile(
        "other_classes",
        "predictor_has_the_classes_of_the_evaluation",
        ("words.py", 'tuple(self._model["classes"])', 'tuple(reversed(self._model["classes"]))'),
    ),
    hostile(
        "backwards",
        "predictor_answers_each_path_in_order",
        ("words.py", "for path in paths:", "for path in reversed(list(paths)):"),
    ),
    hostile(
        "other_preparation",
        "predictor_agrees_with_the_evaluation",
        ("words.py", "scores_of(read_length(path), self._model)", "scores_of(read_length(path) / 2, self._model)"),
    ),
    hostile(
        "opaque",
        "predictor_names_a_bad_file",
        ("words.py", "except (OSError, UnicodeDecodeError)", "except ZeroDivisionError"),
    ),
    hostile(
        "describes_names",
        "predictor_describes_content",
        ("words.py", "(float(read_length(path)),)", "(float(read_length(path) + len(path.stem) % 2),)"),
    ),
    hostile(
        "describes_no_number",
        "predictor_describes_content",
        ("words.py", "(float(read_length(path)),)", '(float("nan"),)'),
    ),
    hostile(
        "describes_with_memory",
        "predictor_describes_content",
        (
            "words.py",
            "        for path in paths:\n            for answer",
            "        self.times = getattr(self, 'times', 0) + 1\n        for path in paths:\n            for answer",
        ),
        ("words.py", "(float(read_length(path)),)", "(float(read_length(path)) * self.times,)"),
    ),
    hostile(
        "describes_another_number",
        "predictor_describes_content",
        ("words.py", "(float(read_length(path)),)", "(float(path.stat().st_size),)"),
    ),
    # --- runners
    hostile(
        "meets_its_own_merge",
        "pipeline_compiles_for_every_runner",
        ("plugin.py", 'Step(name="split"', 'Step(name="preprocess-merge"'),
        ("plugin.py", '"split": "split.split"', '"split": "preprocess-merge.split"'),
        ("plugin.py", '"split": "split.split"', '"split": "preprocess-merge.split"'),
        runners=(),
    ),
    hostile(
        "knows_the_cloud",
        "outputs_are_equal_on_every_runner",
        *in_model("str(context.output('model')).startswith('/opt/ml')"),
        runners=(),
    ),
    hostile(
        "defeat_device",
        "verdicts_are_equal_on_every_runner",
        ("plugin.py", "@hookimpl\ndef mlops_get_gate", DEFEAT_DEVICE),
        ("plugin.py", "return Gate(Comparison", "return Cheat(Comparison"),
    ),
    hostile("knows_its_runner", "outputs_are_equal_on_every_runner", *in_model("context.scratch.parent.name")),
)
