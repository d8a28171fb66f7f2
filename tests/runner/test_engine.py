"""Continuous batching on real llama.cpp: sameness, sharing, shifting, canceling, failing."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ollama_jupyter.errors import BadRequest, RunnerError, RunnerStartFailed
from ollama_jupyter.runner.generation import Generation
from ollama_jupyter.runner.wire import Sampling
from tests.runner.bench import GREEDY, Bench, Recorded, smollm2, wait_until
from tests.tiny_models import Shape, write_llama, write_lora, write_script

pytestmark = pytest.mark.engine
llama_cpp = pytest.importorskip("llama_cpp")

FOX = "The quick brown fox jumps over the lazy dog. Why is the sky blue? "


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("models") / "tiny-llama.gguf")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_script(tmp_path_factory.mktemp("models") / "script.gguf")


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough that the evaluation of a prompt can be caught in the act."""
    shape = Shape(width=512, inner=1536, layers=8, heads=8, kv_heads=4)
    return write_llama(tmp_path_factory.mktemp("models") / "slow.gguf", shape=shape)


@pytest.fixture
def bench(tiny: Path) -> Bench:
    return Bench(tiny)


@contextmanager
def _thread(bench: Bench) -> Iterator[None]:
    """The engine runs in a thread of its own, as in the child."""
    thread = threading.Thread(target=bench.engine.run, name="engine")
    thread.start()
    try:
        yield
    finally:
        bench.engine.close()
        thread.join(20)
        assert not thread.is_alive()


def test_greedy_ids_equal_those_of_a_bare_loop(bench: Bench) -> None:
    prompt = bench.tokens(FOX)

    answer = bench.answer(prompt, num_predict=40)

    assert answer.ids == bench.bare_greedy(prompt, 40)
    assert answer.last.stop_reason == "length"


def test_greedy_ids_equal_those_of_a_bare_loop_on_a_real_model() -> None:
    bench = Bench(smollm2())
    prompt = bench.tokens(
        "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n"
    )

    answer = bench.answer(prompt, num_predict=40)

    assert answer.ids == bench.bare_greedy(prompt, 40)
    assert "sky" in answer.text


def test_answer_is_the_same_after_other_requests(bench: Bench) -> None:
    prompt = bench.tokens(FOX)
    first = bench.answer(prompt)
    for _ in range(3):
        bench.start(FOX + "one two three")
        bench.start("Paris is the capital", sampling=Sampling(seed=3, temperature=2))
    bench.run()

    again = bench.answer(prompt)

    assert again.ids == first.ids or again.cached > 0
    bench.assert_greedy(prompt, again.ids)


def test_streams_side_by_side_do_not_leak_into_each_other(bench: Bench) -> None:
    prompts = [bench.tokens(f"{word} is the capital of France? " * 3) for word in "abcd"]

    answers = [bench.start(prompt, num_predict=40) for prompt in prompts]
    bench.run()

    for prompt, answer in zip(prompts, answers, strict=True):
        bench.assert_greedy(prompt, answer.ids)


def test_more_requests_than_slots_wait_and_are_answered(bench: Bench) -> None:
    answers = [bench.start(f"{word} {FOX}", num_predict=5) for word in "abcdefghij"]

    bench.run()

    assert [answer.last.stop_reason for answer in answers] == ["length"] * 10
    assert bench.engine.running == 0


def test_long_prompt_does_not_stop_running_streams(bench: Bench) -> None:
    stream = bench.start("one two", num_predict=30)
    bench.engine.step()
    bench.engine.step()
    long = bench.start(bench.tokens(FOX) * 16, num_predict=2)
    assert isinstance(stream.work, Generation)
    tokens_before = len(stream.work.tokens)

    bench.engine.step()

    assert len(stream.work.tokens) == tokens_before + 1
    assert not long.ids
    bench.run()
    assert long.last.stop_reason == "length"


def test_shared_prefix_is_evaluated_once(bench: Bench) -> None:
    start = bench.tokens(FOX * 4)
    prompts = [[*start, *bench.tokens(f" {word} {word}")] for word in ("one", "two", "six")]

    answers = [bench.start(prompt, num_predict=20) for prompt in prompts]
    bench.run()

    assert answers[0].cached == 0
    assert all(answer.cached >= len(start) for answer in answers[1:])
    for prompt, answer in zip(prompts, answers, strict=True):
        bench.assert_greedy(prompt, answer.ids)


def test_finished_conversation_is_reused_by_the_next_turn(bench: Bench) -> None:
    first = bench.answer(FOX)
    turn = [*first.prompt, *first.ids, *bench.tokens(" and now?")]

    second = bench.answer(turn)

    # The token drawn last was never evaluated.
    assert second.cached == len(first.prompt) + len(first.ids) - 1
    bench.assert_greedy(turn, second.ids)


def test_no_prefix_is_reused_when_sharing_is_off(tiny: Path) -> None:
    bench = Bench(tiny, prefix_sharing=False)
    prompt = bench.tokens(FOX * 3)
    bench.answer(prompt)

    assert bench.answer(prompt).cached == 0


def test_idle_prefixes_give_way_when_cells_run_out(tiny: Path) -> None:
    bench = Bench(tiny, slots=2, num_ctx=64)
    for word in ("one", "two", "three", "four", "five", "six"):
        prompt = bench.tokens(f"{word} {FOX}")
        answer = bench.answer(prompt, num_predict=10)
        bench.assert_greedy(prompt, answer.ids)


def test_youngest_waits_when_no_idle_prefix_is_left(bench: Bench) -> None:
    bench.engine._slots.cells = 60
    prompts = [bench.tokens(f"{word} fox") * 4 for word in ("one", "two", "six")]

    answers = [bench.start(prompt, num_predict=25) for prompt in prompts]
    bench.run()

    for prompt, answer in zip(prompts, answers, strict=True):
        assert answer.last.stop_reason == "length"
        bench.assert_greedy(prompt, answer.ids)


def test_full_context_shifts_and_goes_on(bench: Bench) -> None:
    bench.answer("Hello! How can I help")
    prompt = bench.tokens(FOX)

    answer = bench.answer(prompt, num_ctx=48, num_predict=100)

    assert answer.ids == bench.bare_greedy(prompt, 100, num_ctx=48)
    assert answer.last.stop_reason == "length"


def test_shifted_cells_are_no_prefix_for_others(bench: Bench) -> None:
    prompt = bench.tokens(FOX)
    first = bench.answer(prompt, num_ctx=90, num_predict=80)
    discard = (91 - 4) // 2
    known = [*prompt, *first.ids[: 91 - len(prompt)]]

    again = bench.answer([*known[:4], *known[4 + discard :]], num_predict=5)

    assert again.cached == 0
    bench.assert_greedy(again.prompt, again.ids)


def test_slow_prompt_gets_shorter_steps_beside_a_stream(slow: Path) -> None:
    bench = Bench(slow, num_ctx=1024, num_batch=1024)
    bench.engine._pace(10**10, 256)
    stream = bench.start("one", num_predict=4)
    bench.engine.step()
    long = bench.start("a b c d " * 60, progress=True, num_predict=1)

    bench.engine.step()

    assert [chunk.prefill_completed for chunk in long.chunks] == [16]
    bench.run()
    assert stream.last.done


def test_full_context_ends_the_answer_without_shift(bench: Bench) -> None:
    prompt = bench.tokens(FOX)

    answer = bench.answer(prompt, num_ctx=48, num_predict=100, shift=False)

    assert answer.last.stop_reason == "length"
    assert len(prompt) + len(answer.ids) == 49


def test_shift_of_a_sequence_that_shares_cells_leaves_the_other_unharmed(bench: Bench) -> None:
    start = bench.tokens(FOX * 2)
    shifting = bench.start(start, num_ctx=len(start) + 20, num_predict=60)
    steady = bench.start([*start, *bench.tokens(" two")], num_predict=60)

    bench.run()

    assert steady.cached > 0
    bench.assert_greedy(steady.prompt, steady.ids)
    assert len(shifting.ids) == 60
    # Until the shift the answer is that of the whole prompt, after it that of what was kept.
    kept = 4
    before = 21
    bench.assert_greedy(start, shifting.ids[:before])
    tokens = [*start, *shifting.ids[:before]]
    discard = (len(tokens) - kept) // 2
    bench.assert_greedy(
        [*tokens[:kept], *tokens[kept + discard :]], shifting.ids[before : before + 5]
    )


@pytest.fixture
def uncuttable(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A model that says of itself that its memory can neither be cut nor shared in part."""
    monkeypatch.setattr(llama_cpp, "llama_model_n_swa", lambda _model: 128)
    return Bench(tiny)


def test_memory_that_cannot_be_cut_is_never_shared(uncuttable: Bench) -> None:
    prompt = uncuttable.tokens(FOX * 3)
    answers = [uncuttable.start(prompt, num_predict=10) for _ in range(6)]

    uncuttable.run()

    assert [answer.cached for answer in answers] == [0] * 6
    for answer in answers:
        uncuttable.assert_greedy(prompt, answer.ids)


def test_memory_that_cannot_be_cut_is_evaluated_again_after_a_shift(uncuttable: Bench) -> None:
    prompt = uncuttable.tokens(FOX * 2)
    before = 21

    answer = uncuttable.answer(prompt, num_ctx=len(prompt) + 20, num_predict=30)

    tokens = [*prompt, *answer.ids[:before]]
    discard = (len(tokens) - 4) // 2
    kept = [*tokens[:4], *tokens[4 + discard :]]
    uncuttable.assert_greedy(kept, answer.ids[before:])


def test_endless_answer_ends_at_ten_contexts(bench: Bench) -> None:
    answer = bench.answer("one", num_ctx=16, num_predict=-1)

    assert answer.last.stop_reason in ("length", "stop")
    assert len(answer.ids) <= 160


def test_overlong_prompt_loses_its_middle(bench: Bench) -> None:
    prompt = bench.tokens(FOX * 4)

    answer = bench.answer(prompt, num_ctx=64, num_predict=3)

    kept = 64 - (64 - 4) // 2
    assert answer.last.truncated_tokens == len(prompt) - kept
    assert answer.last.timings is not None
    assert answer.last.timings.prompt_tokens == kept
    bench.assert_greedy([*prompt[:4], *prompt[4 - kept :]], answer.ids)


@pytest.mark.parametrize("refusal", [{"truncate": False}, {"shift": False}])
def test_overlong_prompt_is_refused_when_it_may_not_be_cut(
    bench: Bench, refusal: dict[str, bool]
) -> None:
    with pytest.raises(BadRequest, match="longer than the context"):
        bench.start(FOX * 4, num_ctx=64, **refusal)


def test_token_ids_beyond_the_vocabulary_are_refused(bench: Bench) -> None:
    for bad in (-1, bench.weights.vocab_size):
        with pytest.raises(BadRequest, match="token id"):
            bench.start([1, bad])


def test_cancel_of_a_prompt_frees_its_slot_and_leaves_others_unchanged(slow: Path) -> None:
    bench = Bench(slow, num_ctx=1024, num_batch=1024)
    prompts = [bench.tokens(f"{word} {FOX}") for word in ("one", "two", "three")]
    undisturbed = [bench.start(prompt, num_predict=60) for prompt in prompts]
    bench.run()
    bench = Bench(slow, num_ctx=1024, num_batch=1024)
    answers = [bench.start(prompt, num_predict=60) for prompt in prompts]
    with _thread(bench):
        wait_until(lambda: all(answer.ids for answer in answers))
        victim = bench.start(bench.tokens("a b c d ") * 100)
        wait_until(lambda: victim.work in bench.engine._decoding)
        assert victim.work is not None
        bench.engine.cancel(victim.work)
        wait_until(lambda: victim.work not in bench.engine._active, seconds=2)
        wait_until(lambda: all(answer.chunks[-1].done for answer in answers))
    assert not victim.ids
    for prompt, answer, alone in zip(prompts, answers, undisturbed, strict=True):
        # Had one step with the victim been faster than the cancel, other kernels would have
        # evaluated it: a wide tie is allowed then, and only then.
        if answer.ids != alone.ids:
            bench.assert_greedy(prompt, answer.ids, near_tie=1.0)


def test_cancel_of_a_lone_prompt_stops_its_decode(slow: Path) -> None:
    bench = Bench(slow, num_ctx=2048, num_batch=2048)
    with _thread(bench):
        victim = bench.start(bench.tokens("a b c d ") * 200)
        wait_until(lambda: victim.work in bench.engine._decoding)
        assert victim.work is not None
        bench.engine.cancel(victim.work)
        wait_until(lambda: bench.engine.running == 0, seconds=1)
    assert not victim.ids


def test_cancel_of_a_waiting_request_never_starts_it(bench: Bench) -> None:
    answers = [bench.start(f"{word} {FOX}", num_predict=5) for word in "abcde"]
    waiting = answers[-1]
    assert waiting.work is not None
    bench.engine.cancel(waiting.work)

    bench.run()

    assert waiting.chunks == []
    assert all(answer.last.done for answer in answers[:-1])


def test_canceled_slot_gives_the_same_answer_afterwards(bench: Bench) -> None:
    prompt = bench.tokens(FOX)
    golden = bench.answer(prompt).ids
    for _ in range(5):
        victim = bench.start(FOX + "json true false", num_predict=50)
        bench.engine.step()
        bench.engine.step()
        assert victim.work is not None
        bench.engine.cancel(victim.work)
        bench.run()

    bench.assert_greedy(prompt, bench.answer(prompt).ids)
    assert len(golden) == 24


def test_seed_repeats_an_answer(bench: Bench) -> None:
    def ids(seed: int) -> list[int]:
        return bench.answer(FOX, sampling=Sampling(seed=seed, temperature=1.5, top_k=0)).ids

    assert ids(7) == ids(7)
    assert ids(7) != ids(8)


@pytest.mark.parametrize("seed", range(4))
def test_random_traffic_leaves_no_slot_and_no_cell_behind(tiny: Path, seed: int) -> None:
    rng = random.Random(seed)
    bench = Bench(tiny, slots=3, num_ctx=96, num_batch=32)
    starts = [bench.tokens(FOX * 2), bench.tokens("Paris is the capital. " * 2), []]
    checked: list[Recorded] = []
    for _ in range(40):
        prompt = [
            *rng.choice(starts),
            *(rng.randrange(6, 300) for _ in range(rng.randrange(1, 20))),
        ]
        request = bench.start(prompt, num_predict=rng.randrange(1, 40), shift=rng.random() < 0.5)
        assert request.work is not None
        for _ in range(rng.randrange(6)):
            bench.engine.step()
        if rng.random() < 0.3:
            bench.engine.cancel(request.work)
        else:
            checked.append(request)
    bench.run()

    slots = bench.engine._slots
    assert bench.engine.running == 0
    assert slots.free_cells + sum(slots.tree.private_cells(s) for s in slots.idle) <= slots.cells
    slots.make_room(slots.cells)
    assert slots.tree.used_cells == 0
    for request in checked:
        assert request.last.stop_reason
        room = 97 - len(request.prompt)
        bench.assert_greedy(request.prompt, request.ids[:room])


def test_stop_string_over_several_tokens_does_not_leak(script: Path) -> None:
    bench = Bench(script)

    answer = bench.answer("<|cue_chat|>", stop=(" the scripted",))

    assert answer.text == "Hello from"
    assert answer.last.stop_reason == "stop"


def test_script_ends_with_the_end_token(script: Path) -> None:
    answer = Bench(script).answer("<|cue_chat|>", sampling=Sampling())

    assert answer.text == "Hello from the scripted model."
    assert answer.last.stop_reason == "stop"
    assert answer.last.timings is not None
    assert answer.last.timings.generated_tokens == 6


@pytest.mark.parametrize(
    ("cue", "text"),
    [
        ("<|cue_long|>", "one token of well over thirty-two bytes, which some wrappers drop end"),
        ("<|cue_bytes|>", "na\u00efve \u732b and \U0001f9d1\u200d\U0001f680 fin"),
        ("<|cue_think|>", "<think>\nThe user wants a sum.\n</think>\n\nThe answer is 4."),
    ],
)
def test_every_byte_of_an_answer_comes_out(script: Path, cue: str, text: str) -> None:
    assert Bench(script).answer(cue).text == text


def test_logprobs_are_those_of_the_model(bench: Bench) -> None:
    prompt = bench.tokens(FOX)

    answer = bench.answer(prompt, num_predict=3, top_logprobs=5)

    logits = bench.teacher_logits([*prompt, *answer.ids])[len(prompt) - 1]
    expected = float(logits.max() - _log_sum(logits.tolist()))
    info = answer.chunks[0].logprobs[0]
    assert info.logprob == pytest.approx(expected, abs=0.02)
    assert [top.logprob for top in info.top] == sorted((t.logprob for t in info.top), reverse=True)
    assert len(info.top) == 5
    assert (info.id, info.bytes) == (info.top[0].id, bench.weights.piece(info.id))


def _log_sum(values: list[float]) -> float:
    from math import exp, log

    peak = max(values)
    return peak + log(sum(exp(value - peak) for value in values))


def test_logprobs_are_left_out_unless_asked_for(bench: Bench) -> None:
    answer = bench.answer(FOX, num_predict=2)

    assert all(chunk.logprobs == () for chunk in answer.chunks)


def test_progress_counts_up_to_the_whole_prompt(tiny: Path) -> None:
    bench = Bench(tiny, num_batch=32)
    prompt = bench.tokens(FOX * 2)

    answer = bench.answer(prompt, progress=True, num_predict=2)

    seen = [chunk.prefill_completed for chunk in answer.chunks if chunk.prefill_total]
    assert seen == sorted(seen)
    assert seen[0] == 32
    assert {c.prefill_total for c in answer.chunks if c.prefill_total} == {len(prompt)}


def test_timings_add_up(bench: Bench) -> None:
    timings = bench.answer(FOX, num_predict=10).last.timings

    assert timings is not None
    assert timings.generated_tokens == 10
    assert timings.prompt_tokens == len(bench.tokens(FOX))
    assert min(timings.queue_ns, timings.prompt_ns, timings.generate_ns) > 0


def test_adapter_changes_the_answer(tiny: Path, tmp_path: Path) -> None:
    adapter = write_lora(tmp_path / "lora.gguf")

    plain = Bench(tiny).answer(FOX).ids
    adapted = Bench(tiny, adapters=(str(adapter),)).answer(FOX).ids

    assert adapted != plain


@pytest.mark.parametrize(
    "spec",
    [
        {"flash_attention": False},
        {"use_extra_buffers": False},
        {"use_mmap": False},
        {"slots": 1, "num_ctx": 8, "num_batch": 1},
        {"slots": 100, "num_ctx": 64},
        {"slots": 300, "num_ctx": 32},
    ],
    ids=str,
)
def test_every_shape_of_context_answers(tiny: Path, spec: dict[str, Any]) -> None:
    answer = Bench(tiny, **spec).answer("one", num_predict=3)

    assert answer.last.stop_reason in ("stop", "length")


@pytest.mark.parametrize("cache_type", ["q8_0", "q4_0"])
def test_quantized_cache_answers(tmp_path: Path, cache_type: str) -> None:
    path = write_llama(tmp_path / "wide-heads.gguf", shape=Shape(heads=2, kv_heads=1))

    answer = Bench(path, kv_cache_type=cache_type, flash_attention=True).answer(FOX)

    assert answer.last.stop_reason in ("stop", "length")


def test_load_of_something_else_fails_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF nothing more")

    with pytest.raises(RunnerStartFailed, match="unable to load model"):
        Bench(path)


def test_fail_all_tells_every_request(bench: Bench) -> None:
    answers = [bench.start(f"{word} {FOX}", num_predict=50) for word in "abcdef"]
    bench.engine.step()

    bench.engine.fail_all(RunnerError("the engine failed"))

    assert all(isinstance(answer.error, RunnerError) for answer in answers)
    assert bench.engine.running == 0


def test_penalties_know_the_prompt(script: Path) -> None:
    bench = Bench(script)
    prompt = "<|cue_chat|> the<|cue_chat|>"
    forbidding = Sampling(temperature=0, repeat_penalty=1.0, presence_penalty=100.0)

    assert bench.answer(prompt, sampling=GREEDY).text.startswith("Hello from the")
    assert " the" not in bench.answer(prompt, sampling=forbidding).text
