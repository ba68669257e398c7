"""--config: what the file says, and what is typed."""

from minibert.cli import build_parser
from minibert.cli.config_file import with_config


def test_an_option_that_is_typed_rules_out_no_longer_one(tmp_path):
    """--mask is a name, and not short for --masking."""
    file = tmp_path / "run.toml"
    verbs = build_parser().verbs
    for typed, kept in (("--mask", True), ("--mask=0.2", True), ("--maski", False), ("--masking", False)):
        file.write_text('masking = "span"\n')
        words = with_config(["pretrain", "--config", str(file), typed, "0.2"], verbs)
        assert ("--masking=span" in words) is kept
    file.write_text('dev-text = "a"\nlabel-smoothing = 0.1\ntext-pair = "b"\n')
    typed = ["--dev", "d.csv", "--text", "sentence", "--label", "gold"]
    words = with_config(["finetune", "classify", "--config", str(file), *typed], verbs)
    assert {"--dev-text=a", "--label-smoothing=0.1", "--text-pair=b"} <= {*words}
