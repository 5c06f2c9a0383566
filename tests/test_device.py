"""Device and number format: what `auto` takes on machines that this one is not, and what is refused."""

import json

import pytest
import torch
from conftest import PARAMETERS, notebook

from cifar_utils import environment
from cifar_utils.data import augment
from cifar_utils.data.batches import Batches
from cifar_utils.data.sets import load
from cifar_utils.device import autocast_dtype, finest_dtype, float64_device, native_bfloat16, pick_device
from cifar_utils.errors import ParameterError
from cifar_utils.train import triplets
from cifar_utils.train.loop import evaluate, fit
from reproduce import cards, chapter

CPU, MPS, CUDA = torch.device("cpu"), torch.device("mps"), torch.device("cuda")


@pytest.fixture
def machine(monkeypatch):
    """Make this machine another one: `machine(cuda=1)`, `machine(mps=True)`, `machine(avx512_bf16=True)`."""

    def make(cuda=0, mps=False, capability=(8, 0), **instructions):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: capability)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions, raising=False)
        monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)

    make()
    return make


def test_auto_takes_cuda_then_an_apple_gpu_then_the_cpu(machine):
    assert pick_device("auto") == CPU
    machine(mps=True)
    assert pick_device("auto") == pick_device("mps") == MPS
    machine(cuda=1, mps=True)
    assert pick_device("auto") == CUDA and pick_device(torch.device("cuda:0")) == torch.device("cuda:0")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("cuda", "no GPU that PyTorch can use; pass device='cpu'"),
        ("mps", "no Apple GPU that PyTorch can use; pass device='cpu'"),
        ("gpu", "device is 'gpu'; expected one of auto, cpu, cuda, mps"),
        ("meta", "device is 'meta'; expected one of auto, cpu, cuda, mps"),
        ("", "expected one of auto, cpu, cuda, mps"),
    ],
)
def test_a_device_that_is_not_there_is_refused_in_one_sentence(machine, asked, said):
    with pytest.raises(ParameterError, match=said):
        pick_device(asked)
    with pytest.raises(ParameterError, match=said):
        load("circles", data="sample", device=asked)


def test_a_gpu_beyond_the_last_is_refused(machine):
    machine(cuda=2)
    assert pick_device("cuda:1").index == 1
    with pytest.raises(ParameterError, match="this machine has 2 GPU.*cuda:0 to cuda:1"):
        pick_device("cuda:2")


@pytest.mark.parametrize(
    ("there", "on", "native"),
    [
        ({}, CPU, False),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, CPU, False),
        ({"avx512_bf16": True}, CPU, True),
        ({"amx_bf16": True}, CPU, True),
        ({"bf16": True}, CPU, True),  # ARM
        ({"cuda": 1, "capability": (7, 5)}, CUDA, False),
        ({"cuda": 1, "capability": (8, 0)}, CUDA, True),
        ({"cuda": 1, "capability": (9, 0)}, CUDA, True),
        ({"mps": True}, MPS, False),
    ],
)
def test_auto_is_bfloat16_exactly_where_the_device_computes_it_natively(machine, there, on, native):
    machine(**there)
    assert native_bfloat16(on) is native
    assert autocast_dtype("auto", on) is (torch.bfloat16 if native else None)
    assert autocast_dtype("bfloat16", on) is torch.bfloat16, "what is asked for is obeyed"
    assert autocast_dtype("float32", on) is None


def test_a_processor_held_back_to_older_instructions_counts_as_without_bfloat16(machine, monkeypatch):
    machine(avx512_bf16=True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    assert not native_bfloat16(CPU)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    assert native_bfloat16(CPU)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ParameterError, match="'half'; expected one of auto, float32, bfloat16"):
        autocast_dtype("half", CPU)


@pytest.mark.parametrize(
    ("asked", "native", "used", "said"),
    [
        ("auto", True, "bfloat16", "<dd>bfloat16</dd>"),
        ("auto", False, "float32", "float32, as this device does not compute bfloat16 natively"),
        ("bfloat16", False, "bfloat16", "although this device only emulates it"),
        ("float32", True, "float32", "<dd>float32</dd>"),
    ],
)
def test_record_and_card_say_what_was_used_and_why(project, monkeypatch, machine, asked, native, used, said):
    text = PARAMETERS + f'precision: str = "{asked}"  # number format\n'
    (project / "notebooks/a1_q1_test.ipynb").write_text(json.dumps(notebook(text, "print(1)")))
    machine(avx512_bf16=native)
    values = {}
    exec(text, values)
    run = chapter.start("a1_q1_test", {k: v for k, v in values.items() if k[0] != "_"}, "?")
    record = run.record()
    assert record["precision"] == run.number_format == used
    assert run.autocast is (torch.bfloat16 if used == "bfloat16" else None)
    assert record["environment"]["native_bfloat16"] is native
    assert said in cards.header(record, "?")


def test_environment_names_threads_and_instruction_set():
    found = environment.describe(CPU)
    assert found["threads"] == torch.get_num_threads() and found["instructions"]
    assert environment.threads(CUDA) is None


def test_what_needs_float64_runs_where_an_apple_gpu_is_faked(monkeypatch, images):
    """No Mac is here: the random draws, which stay on their device, are made in float32 on the CPU instead."""
    assert float64_device(MPS) == CPU and float64_device(CUDA) == CUDA and finest_dtype(MPS) == torch.float32
    asked = []
    for module in (triplets, augment):
        monkeypatch.setattr(module, "finest_dtype", lambda d: asked.append(d) or torch.float32)
    g = torch.Generator().manual_seed(0)
    x = torch.rand(500, 3, 4, 4)
    mixed, soft = augment.Mixup(10)(x, torch.arange(500) % 10, g)
    assert mixed.dtype == torch.float32 and torch.allclose(soft.sum(1), torch.ones(500))
    first, second = triplets.TripletIndex(images.y).draw(torch.arange(60), g)
    assert (images.y[first] == images.y).all() and (images.y[second] != images.y).all()
    assert len(asked) == 3


def test_bfloat16_and_float32_agree_on_a_short_training(images):
    """The same network, batches and steps: two number formats end within rounding of each other."""
    ends = []
    for autocast in (None, torch.bfloat16):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(360, 10))
        batches = Batches(images, 20, seed=0)
        fit(model, batches, torch.optim.SGD(model.parameters(), 0.01), epochs=2, autocast=autocast)
        ends.append(evaluate(model, Batches.for_evaluation(images, batches), autocast=autocast)[0])
    assert ends[0] == pytest.approx(ends[1], rel=0.02) and ends[0] != ends[1]


@pytest.mark.parametrize(("choosable", "where"), [(True, MPS), (False, CPU)])
def test_an_apple_gpu_computes_the_chapters_that_can_choose_their_number_format(
    project, monkeypatch, machine, choosable, where
):
    machine(mps=True)
    text = PARAMETERS.replace('"cpu"', '"auto"') + 'precision: str = "auto"  # number format\n' * choosable
    (project / "notebooks/a1_q1_test.ipynb").write_text(json.dumps(notebook(text, "print(1)")))
    values = {}
    exec(text, values)
    run = chapter.start("a1_q1_test", {k: v for k, v in values.items() if k[0] != "_"}, "?")
    assert run.device == where and run.autocast is None
    assert ("Apple GPU" in run.record()["environment"]["device"]) is choosable
