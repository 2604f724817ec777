import json

from consingan_jax.runs import logger


def _moments(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["stage"], line["step"]) for line in lines]


def test_what_was_logged_after_the_moment_is_forgotten(tmp_path):
    log = logger.MetricsLog(tmp_path, iterations=[10, 20], moment=(0, 0))
    for stage, step in [(0, 5), (0, 10), (1, 5), (1, 10)]:
        log.write(stage, step, {"loss": 1.0})
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"stage": 1, "st')  # a line that a kill cut off
    logger.MetricsLog(tmp_path, iterations=[10, 20], moment=(1, 5)).close()
    assert _moments(tmp_path / "metrics.jsonl") == [(0, 5), (0, 10), (1, 5)]


def test_the_seconds_of_a_stage_go_on(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(logger.time, "monotonic", lambda: now[0])

    def lines(moment, written):
        log = logger.MetricsLog(tmp_path, iterations=[10, 20], moment=moment)
        log.start()
        for stage, step in written:
            now[0] += 2
            log.write(stage, step, {"loss": 1.0})
        log.close()
        return [line["seconds"] for line in logger.read(tmp_path / "metrics.jsonl")]

    assert lines((0, 0), [(0, 5), (0, 10)]) == [2, 4]
    now[0] += 1000  # nobody trains
    assert lines((0, 5), [(0, 10)]) == [2, 4]
    assert lines((1, 0), [(1, 5), (1, 10)]) == [2, 4, 2, 4]


def test_the_time_left_counts_the_operations_of_the_stages_to_come(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(logger.time, "perf_counter", lambda: now[0])
    progress = logger.ProgressBar([10, 40], iterations=[10, 20])
    progress.start(0, 0, "stage")
    progress.begin("stage")
    now[0] += 5
    progress.advance(5, {"reconstruction_rmse": 0.1})
    assert progress.seconds_per_iteration() == 1
    # 5 iterations of 1 s are left here, and 20 of 4 s above.
    assert progress.time_left(5) == 85
    progress.close()


def test_a_log_file_has_a_few_lines_for_a_stage(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(logger.time, "perf_counter", lambda: now[0])
    progress = logger.ProgressBar([10, 40], iterations=[100, 20])
    progress.start(0, 0, "stage 0: compiling")
    progress.begin("stage 0")
    for step in range(1, 101):
        now[0] += 1
        progress.describe("stage 0: pictures")
        progress.describe("stage 0")
        progress.advance(step, {"reconstruction_rmse": 0.1})
    progress.close()
    first, *others = capsys.readouterr().err.splitlines()
    assert first == "stage 0: compiling"
    assert [line.split(",")[0] for line in others] == [
        f"stage 0: iteration {step} of 100" for step in (1, 32, 63, 94, 100)
    ]
    assert others[-1].endswith("100 of 100, 1.00it/s, rec 0.1000, run ETA 01:20")


def test_lines_that_cannot_be_read_are_dropped(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b'{"stage": 0, "step": 5}\n\x00\xff\n{"step": 6}\n{"stage": 0, "step": 7}\n')
    logger.MetricsLog(tmp_path, iterations=[10], moment=(0, 9)).close()
    assert _moments(file) == [(0, 5), (0, 7)]
