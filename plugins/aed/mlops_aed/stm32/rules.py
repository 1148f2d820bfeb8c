"""Rules of every key of the newest common layout (v2/v3): legal values, and the reason if a key is not used."""

from __future__ import annotations

from mlops_aed.stm32.values import Kind, Rule

MODES = (
    "training",
    "evaluation",
    "prediction",
    "deployment",
    "quantization",
    "benchmarking",
    "chain_tbqeb",
    "chain_tqe",
    "chain_eqe",
    "chain_qb",
    "chain_eqeb",
    "chain_qd",
    "chain_tqeb",
)
NETWORKS = (
    "yamnet",
    "miniresnet",
    "miniresnetv2",
    "custom",
    "yamnet_e256",
    "yamnet_e512",
    "yamnet_e1024",
    *(f"miniresnetv{version}_s{stacks}{end}" for version in (1, 2) for stacks in (1, 2) for end in ("", "_ap")),
)
"""Names of the networks in the three layouts; in v4 a name holds all settings of a network."""
_FILES = "is used by operation_mode prediction only; mlops predict --usecase AED FILES uses a registered model"
_TOOLS = "needs ST's tools"
_OWN_FOLDER = "a run keeps everything in its own folder"
_SEED = "the seed of a run is set with --seed"
_ALWAYS = "is always on"
_MASK = "masks are filled with the mean of all patches"


def _positive(*, required: bool = True) -> Rule:
    return Rule(kind=Kind.INTEGER, low=1, is_required=required)


def _yes_no(*, required: bool = False, ignored: str = "") -> Rule:
    return Rule(kind=Kind.BOOLEAN, is_required=required, ignored=ignored)


def _ignored(reason: str, kind: Kind = Kind.ANY) -> Rule:
    return Rule(kind=kind, ignored=reason)


_PATH = Rule(kind=Kind.PATH)
_REQUIRED_FLAG = _yes_no(required=True)

RULES: dict[str, Rule] = {
    "operation_mode": Rule(kind=Kind.TEXT, choices=MODES, is_required=True),
    "general.project_name": Rule(kind=Kind.TEXT),
    "general.model_path": _PATH,
    "general.logs_dir": _ignored(_OWN_FOLDER, Kind.PATH),
    "general.saved_models_dir": _ignored(_OWN_FOLDER, Kind.PATH),
    "general.deterministic_ops": _yes_no(ignored=_ALWAYS),
    "general.display_figures": _yes_no(ignored="no window is opened; figures are in the report"),
    "general.global_seed": Rule(kind=Kind.INTEGER, ignored=_SEED),
    "general.gpu_memory_limit": Rule(kind=Kind.NUMBER, low=0, ignored="applies to GPUs only"),
    "general.config_path": _ignored("import that file itself", Kind.PATH),
    "general.batch_size": Rule(kind=Kind.INTEGER, low=1, ignored="training.batch_size is used"),
    "general.num_threads_tflite": Rule(kind=Kind.INTEGER, low=1, ignored="one thread per process"),
    "dataset.name": Rule(kind=Kind.TEXT, choices=("esc10", "fsd50k", "custom"), is_required=True),
    "dataset.class_names": Rule(kind=Kind.NAMES),
    "dataset.file_extension": Rule(kind=Kind.TEXT, is_required=True),
    "dataset.training_audio_path": _PATH,
    "dataset.training_csv_path": _PATH,
    "dataset.validation_audio_path": _PATH,
    "dataset.validation_csv_path": _PATH,
    "dataset.validation_split": Rule(kind=Kind.NUMBER, low=0, high=1, is_open=True),
    "dataset.quantization_audio_path": _PATH,
    "dataset.quantization_csv_path": _PATH,
    "dataset.quantization_split": Rule(kind=Kind.NUMBER, low=0, high=1),
    "dataset.test_audio_path": _PATH,
    "dataset.test_csv_path": _PATH,
    "dataset.test_split": Rule(kind=Kind.NUMBER, low=0, high=1, is_open=True),
    "dataset.multi_label": _REQUIRED_FLAG,
    "dataset.use_garbage_class": _REQUIRED_FLAG,
    "dataset.n_samples_per_garbage_class": _positive(required=False),
    "dataset.expand_last_dim": _yes_no(required=True, ignored=_ALWAYS),
    "dataset.seed": Rule(kind=Kind.INTEGER, ignored=_SEED),
    "dataset.to_cache": _yes_no(required=True, ignored="features are stored and mapped from the file"),
    "dataset.shuffle": _yes_no(required=True, ignored="training patches are drawn in a new order each epoch"),
    "dataset.batch_size": Rule(
        kind=Kind.INTEGER, low=1, dead="never read by the model zoo; training.batch_size is used"
    ),
    "dataset_specific.fsd50k.csv_folder": _PATH,
    "dataset_specific.fsd50k.dev_audio_folder": _PATH,
    "dataset_specific.fsd50k.eval_audio_folder": _PATH,
    "dataset_specific.fsd50k.audioset_ontology_path": _PATH,
    "dataset_specific.fsd50k.only_keep_monolabel": _yes_no(required=True),
    "preprocessing.min_length": Rule(kind=Kind.NUMBER, low=0, is_open=True, is_required=True),
    "preprocessing.max_length": Rule(kind=Kind.NUMBER, low=0, is_open=True, is_required=True),
    "preprocessing.target_rate": _positive(),
    "preprocessing.top_db": Rule(kind=Kind.NUMBER, low=0, is_open=True, is_required=True),
    "preprocessing.frame_length": _positive(),
    "preprocessing.hop_length": _positive(),
    "preprocessing.trim_last_second": _REQUIRED_FLAG,
    "preprocessing.lengthen": Rule(
        kind=Kind.TEXT, choices=("before", "after"), dead="never passed on by the model zoo; always 'after'"
    ),
    "feature_extraction.patch_length": _positive(),
    "feature_extraction.n_mels": _positive(),
    "feature_extraction.overlap": Rule(kind=Kind.NUMBER, low=0, high=0.99, is_required=True),
    "feature_extraction.n_fft": _positive(),
    "feature_extraction.hop_length": _positive(),
    "feature_extraction.window_length": _positive(),
    "feature_extraction.window": Rule(kind=Kind.TEXT, choices=("hann",), is_required=True),
    "feature_extraction.center": _REQUIRED_FLAG,
    "feature_extraction.pad_mode": Rule(kind=Kind.TEXT, choices=("constant", "reflect", "edge"), is_required=True),
    "feature_extraction.power": Rule(kind=Kind.NUMBER, low=1, high=2, is_required=True),
    "feature_extraction.fmin": Rule(kind=Kind.NUMBER, low=0, is_required=True),
    "feature_extraction.fmax": Rule(kind=Kind.NUMBER, low=0, is_open=True, is_required=True),
    "feature_extraction.norm": Rule(kind=Kind.TEXT, choices=("slaney",)),
    "feature_extraction.htk": _REQUIRED_FLAG,
    "feature_extraction.to_db": _REQUIRED_FLAG,
    "feature_extraction.include_last_patch": _yes_no(),
    "data_augmentation.GaussianNoise.enable": _REQUIRED_FLAG,
    "data_augmentation.GaussianNoise.scale": Rule(kind=Kind.NUMBER, low=0),
    "data_augmentation.VolumeAugment.enable": _REQUIRED_FLAG,
    "data_augmentation.VolumeAugment.min_scale": Rule(kind=Kind.NUMBER, low=0, is_open=True),
    "data_augmentation.VolumeAugment.max_scale": Rule(kind=Kind.NUMBER, low=0, is_open=True),
    "data_augmentation.SpecAug.enable": _REQUIRED_FLAG,
    "data_augmentation.SpecAug.freq_mask_param": Rule(kind=Kind.INTEGER, low=0),
    "data_augmentation.SpecAug.time_mask_param": Rule(kind=Kind.INTEGER, low=0),
    "data_augmentation.SpecAug.n_freq_mask": Rule(kind=Kind.INTEGER, low=0),
    "data_augmentation.SpecAug.n_time_mask": Rule(kind=Kind.INTEGER, low=0),
    "data_augmentation.SpecAug.mask_value": Rule(kind=Kind.NUMBER, ignored=_MASK),
    "training.model.name": Rule(kind=Kind.TEXT, choices=NETWORKS),
    "training.model.code": Rule(kind=Kind.TEXT),
    "training.model.embedding_size": Rule(kind=Kind.INTEGER, low=1),
    "training.model.n_stacks": Rule(kind=Kind.INTEGER, low=1, high=2),
    "training.model.version": Rule(kind=Kind.TEXT, choices=("v1", "v2")),
    "training.model.pooling": Rule(kind=Kind.TEXT, choices=("avg", "max")),
    "training.model.input_shape": Rule(kind=Kind.SHAPE, is_required=True),
    "training.model.pretrained_weights": _yes_no(),
    "training.fine_tune": _yes_no(),
    "training.dropout": Rule(kind=Kind.NUMBER, low=0, high=0.99),
    "training.frozen_layers": Rule(kind=Kind.ANY, dead="announced by the model zoo, never read"),
    "training.batch_size": _positive(),
    "training.epochs": _positive(),
    "training.resume_training_from": _PATH,
    "training.optimizer": Rule(kind=Kind.MAPPING, is_required=True),
    "training.callbacks": Rule(kind=Kind.MAPPING),
    "training.trained_model_path": _ignored("mlops models export writes a copy of a registered model", Kind.PATH),
    "training.dryrun": _yes_no(ignored="mlops plan shows what a run would do"),
    "quantization.quantizer": Rule(kind=Kind.TEXT, choices=("TFlite_converter", "onnx_quantizer"), is_required=True),
    "quantization.quantization_type": Rule(kind=Kind.TEXT, choices=("PTQ",), is_required=True),
    "quantization.quantization_input_type": Rule(kind=Kind.TEXT, choices=("int8", "uint8", "float"), is_required=True),
    "quantization.quantization_output_type": Rule(kind=Kind.TEXT, choices=("int8", "uint8", "float"), is_required=True),
    "quantization.granularity": Rule(kind=Kind.TEXT, choices=("per_channel", "per_tensor")),
    "quantization.optimize": _yes_no(ignored="changes the graph for per_tensor only; LiteRT's converter folds it"),
    "quantization.target_opset": Rule(kind=Kind.INTEGER, low=7, ignored="the default of the exporter is used"),
    "quantization.export_dir": _ignored(_OWN_FOLDER, Kind.PATH),
    "quantization.extra_options": _ignored("options of another quantizer"),
    "quantization.op_types_to_quantize": _ignored("options of another quantizer"),
    "quantization.operating_mode": _ignored("options of another quantizer"),
    "quantization.onnx_quant_parameters": _ignored("options of another quantizer"),
    "quantization.onnx_extra_options": _ignored("options of another quantizer"),
    "quantization.iterative_quant_parameters": _ignored("options of another quantizer"),
    **{
        f"evaluation.{key}": _ignored("scores of every patch are in predictions.jsonl")
        for key in ("gen_npy_input", "gen_npy_output", "npy_in_name", "npy_out_name")
    },
    **{
        f"evaluation.{key}": _ignored(_TOOLS)
        for key in ("profile", "input_type", "output_type", "input_chpos", "output_chpos")
    },
    "evaluation.target": Rule(kind=Kind.TEXT, choices=("host", "stedgeai_host", "stedgeai_n6"), ignored="the host"),
    "mlflow.uri": Rule(kind=Kind.PATH),
    "prediction.test_files_path": _PATH,
    "tools.stedgeai.path_to_stedgeai": _PATH,
    "tools.stedgeai.optimization": Rule(kind=Kind.TEXT, choices=("balanced", "time", "ram")),
    "benchmarking.board": Rule(kind=Kind.TEXT),
    "deployment.hardware_setup.board": Rule(kind=Kind.TEXT),
    "deployment.unknown_class_threshold": Rule(
        kind=Kind.NUMBER,
        low=0,
        high=1,
        ignored="a prediction returns scores; apply a threshold to them",
    ),
}
"""Dotted key -> rule; keys of `OPEN_SECTIONS` need no rule."""

V1_RULES: dict[str, Rule] = {
    "dataset_specific.fsd50k.collapse_to_monolabel": Rule(
        kind=Kind.BOOLEAN, dead="never passed on by the model zoo; only_keep_monolabel decides"
    ),
    "train_parameters.optimizer": Rule(kind=Kind.TEXT),
    "train_parameters.initial_learning": Rule(kind=Kind.NUMBER, low=0, is_open=True),
    "train_parameters.patience": _positive(required=False),
    "train_parameters.learning_rate_scheduler": Rule(
        kind=Kind.TEXT, choices=("ReduceLROnPlateau", "Exponential", "Cosine", "Constant")
    ),
    "train_parameters.restore_best_weights": _yes_no(),
    "data_augmentation.GaussianNoise": Rule(kind=Kind.NUMBER, low=0),
    "data_augmentation.VolumeAugment": _yes_no(),
    "data_augmentation.min_scale": Rule(kind=Kind.NUMBER, low=0, is_open=True),
    "data_augmentation.max_scale": Rule(kind=Kind.NUMBER, low=0, is_open=True),
    "data_augmentation.SpecAug": _yes_no(),
    "data_augmentation.freq_mask_param": Rule(kind=Kind.INTEGER, low=0),
    "data_augmentation.time_mask_param": Rule(kind=Kind.INTEGER, low=0),
    "data_augmentation.n_freq_mask": Rule(kind=Kind.INTEGER, low=0),
    "data_augmentation.n_time_mask": Rule(kind=Kind.INTEGER, low=0),
    "data_augmentation.mask_value": Rule(kind=Kind.NUMBER, ignored=_MASK),
    "quantization.quantize": _yes_no(),
    "quantization.evaluate": _yes_no(),
}
"""Keys of the layout v1 only."""
V4_RULES: dict[str, Rule] = {
    "model.framework": Rule(kind=Kind.TEXT, choices=("tf",), ignored="networks are built with Keras"),
    "model.model_type": _ignored("model.model_name determines it", Kind.TEXT),
    "dataset.classes_file_path": _PATH,
    "dataset.prediction_audio_path": _PATH,
}
"""Keys of the layout v4 only."""

OPEN_SECTIONS: dict[str, str] = {
    "prediction": _FILES,
    "tools": _TOOLS,
    "benchmarking": _TOOLS,
    "deployment": _TOOLS,
    "hydra": _OWN_FOLDER,
}
"""Sections that are ignored as a whole, with the reason."""
REFUSED_SECTIONS: dict[str, str] = {
    "custom_data_augmentation": "names code of another program; code is never run",
    "parameters": "is about an evaluation on a board, which needs ST's tools; import the file that general.config_path "
    "names, with operation_mode: evaluation",
}


def sections() -> tuple[str, ...]:
    """Return the names of all sections."""
    return tuple(dict.fromkeys([*(key.partition(".")[0] for key in RULES), *OPEN_SECTIONS, *REFUSED_SECTIONS]))
