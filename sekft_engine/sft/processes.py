"""Several processes that train one adapter: those of ``torchrun`` or ``accelerate launch``.

The process with rank 0 leads. It runs the job as it would alone, and says what comes next before
each thing that takes all: a step, a held-out loss, the state of a checkpoint, the end. The others
follow word by word and write nothing anywhere, so every decision (to stop, to pause, to save, to
end early) is made once. Each process computes the gradients of its share of a step's rows, divided
by the number of trained tokens of the whole step, and the sums over all processes are those of one.

With a sharded base (FSDP) the layers of the base lie spread over the processes, in pieces that are
gathered for the moment in which they compute; the adapter, which is small, is whole in each.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import socket
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sekft_engine.errors import JobFailed, SekftError, Unavailable
from sekft_engine.loading import import_torch
from sekft_engine.sft.data import TrainRow
from sekft_engine.sft.loop import Abandoned
from sekft_engine.sft.ranks import ALONE, Ranks, Word

if TYPE_CHECKING:
    from torch import Tensor

#: Followers wait while the leader evaluates, saves or is paused.
PATIENCE = dt.timedelta(days=2)


def launched() -> bool:
    """Whether this process is one of several that a launcher started together."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def follows() -> bool:
    """Whether another process leads this one."""
    return launched() and int(os.environ.get("RANK", "0")) > 0


def joined() -> Ranks:
    """The processes this one trains with: those the launcher started, else none.

    Raises:
        Unavailable: they cannot be reached.
    """
    if not launched():
        return ALONE
    import_torch()
    import torch
    import torch.distributed as dist

    if not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        try:
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE
            )
        except (ValueError, RuntimeError) as error:
            raise Unavailable(
                f"the other processes cannot be reached: {str(error).splitlines()[0]}",
                mend="start sekft with torchrun or accelerate launch",
            ) from error
    return Processes()


def part() -> None:
    """Leave the others: the leader tells them that nothing more comes."""
    if not launched():
        return
    import torch.distributed as dist

    if dist.is_initialized():
        with contextlib.suppress(RuntimeError):  # those that are gone need not be told
            if dist.get_rank() == 0:
                Processes().announce("end")
            dist.destroy_process_group()


class Processes(Ranks):
    """This process among those of torch.distributed."""

    def __init__(self) -> None:
        import torch.distributed as dist

        self._dist = dist
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self.neighbours = int(os.environ.get("LOCAL_WORLD_SIZE", self.size))
        self.sharded = False

    # --- words --------------------------------------------------------------------------------

    def announce(self, word: Word, *what: Any) -> None:
        if self.rank == 0:
            self._dist.broadcast_object_list([(word, what)], src=0)

    def hear(self) -> tuple[Word, tuple[Any, ...]]:
        """What the leader announces next."""
        told: list[Any] = [None]
        self._dist.broadcast_object_list(told, src=0)
        word, what = told[0]
        return word, what

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What goes wrong inside in one process goes wrong in all, each raising the same."""
        problem: Exception | None = None
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the others must hear of whatever it is
            problem = error
        told: list[Any] = [None] * self.size
        self._dist.all_gather_object(told, _portable(problem))
        if problem is not None:
            raise problem
        for rank, theirs in enumerate(told):
            if theirs is not None:
                theirs.add_note(f"in process {rank} of {self.size}")
                raise theirs

    # --- a step -------------------------------------------------------------------------------

    def share(self, rows: Sequence[TrainRow]) -> Sequence[TrainRow]:
        """The longest row goes to whoever has the fewest tokens, and so on; all agree on it."""
        load = [0] * self.size
        mine = []
        for at in sorted(range(len(rows)), key=lambda at: -len(rows[at])):
            to = load.index(min(load))
            load[to] += len(rows[at])
            if to == self.rank:
                mine.append(at)
        return [rows[at] for at in sorted(mine)]

    def more_passes(self, own: int) -> int:
        if not self.sharded:
            return 0
        import torch

        most = torch.tensor(own)
        self._dist.all_reduce(most, op=self._dist.ReduceOp.MAX)
        return int(most) - own

    def match(self, weights: Sequence[Tensor]) -> None:
        import torch

        with torch.no_grad():
            for weight in weights:
                self._dist.broadcast(weight, src=0)

    def sum_gradients(self, weights: Sequence[Tensor]) -> None:
        """One message for all of an adapter's gradients: they are small."""
        import torch

        for weight in weights:
            if weight.grad is None:  # no row of this step was ours
                weight.grad = torch.zeros_like(weight)
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        flat = torch.cat([one.reshape(-1) for one in gradients])
        self._dist.all_reduce(flat)
        at = 0
        for one in gradients:
            one.copy_(flat[at : at + one.numel()].view_as(one))
            at += one.numel()

    def sum(self, *numbers: float) -> tuple[float, ...]:
        import torch

        total = torch.tensor(numbers, dtype=torch.float64)
        self._dist.all_reduce(total)
        return tuple(float(one) for one in total)

    def seed(self, seed: int, step: int) -> None:
        """Each process draws other numbers, and after a resume the same as without."""
        import torch

        torch.manual_seed(((seed + 1) << 40) + (step << 12) + self.rank)

    # --- the base -----------------------------------------------------------------------------

    def shard(self, model: Any) -> None:
        """Spread the layers of the base over the processes, where they are not yet; what is
        trainable stays whole in each."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        self.sharded = True
        device = "cuda" if self._cuda() else "cpu"
        layers = layers_of(model)
        if isinstance(layers[0], FSDPModule):
            return
        probe = _Probe(layers[0])
        mesh = init_device_mesh(device, (self.size,))
        for layer in layers:
            whole = {one for name, one in layer.named_parameters() if ".lora_" in name}
            fully_shard(layer, mesh=mesh, ignored_params=whole)
        model.to(device)
        probe.compare(device)

    def _cuda(self) -> bool:
        import torch

        return torch.cuda.is_available()


class _Probe:
    """A linear layer's answer before its weights are spread, to be compared with that after.

    Weights that came back in another order would train an adapter for no base at all, in silence.
    """

    def __init__(self, layer: Any) -> None:
        import torch

        self._layer = layer
        self._linear = next(one for one in layer.modules() if hasattr(one, "in_features"))
        draws = torch.Generator().manual_seed(0)
        self._given = torch.randn(4, self._linear.in_features, generator=draws)
        self._answer = self._ask("cpu")

    def _ask(self, device: str) -> Tensor:
        import torch

        weight = next(self._linear.parameters())
        kind = weight.dtype if weight.is_floating_point() else torch.float32
        with torch.no_grad():
            answer: Tensor = self._linear(self._given.to(device, kind))
        return answer.float().cpu()

    def compare(self, device: str) -> None:
        """Raise :class:`Unavailable` where it answers otherwise now."""
        import torch

        self._layer.unshard()
        try:
            same = torch.allclose(self._ask(device), self._answer, rtol=0.02, atol=0.02)
        except (RuntimeError, AssertionError):
            same = False
        self._layer.reshard()
        if not same:
            raise Unavailable(
                "this base computes something else once it is spread over processes",
                where="--shard-base",
                mend="leave it out, or load the base without --load-4bit",
            )


def layers_of(model: Any) -> Any:
    """The decoder layers of a causal language model."""
    from torch import nn

    lists = [one for one in model.modules() if isinstance(one, nn.ModuleList) and len(one)]
    if not lists:
        raise Unavailable("this base has no list of layers that could be spread over processes")
    return max(lists, key=len)


def here() -> str:
    """Which process this is, for a person."""
    return f"process {os.environ.get('RANK', '0')} on {socket.gethostname()}"


def _portable(problem: Exception | None) -> Exception | None:
    if problem is None or isinstance(problem, SekftError | Abandoned):
        return problem
    return JobFailed(f"{here()}: {type(problem).__name__}: {problem}")
