"""`zflow errors` prints the page, or one entry of it."""

from click.testing import CliRunner

from zflow.cli import main
from zflow.error_page import entry, page
from zflow.errors import ConfigError, PortInUse


def test_the_page_and_one_entry() -> None:
    assert CliRunner().invoke(main, ["errors"]).output == page()
    assert CliRunner().invoke(main, ["errors", "PortInUse"]).output == entry(PortInUse)


def test_a_word_that_is_none_suggests_the_nearest() -> None:
    result = CliRunner().invoke(main, ["errors", "PortUsed"])
    assert result.exit_code == ConfigError.exit_code and "did you mean 'PortInUse'?" in result.stderr
