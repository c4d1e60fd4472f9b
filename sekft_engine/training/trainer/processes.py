"""Several processes that train one adapter: those of ``torchrun`` or ``accelerate launch``.

The process with rank 0 leads. It runs the job as it would alone, and announces each thing that all
do together: a step, a held-out loss, the state of a checkpoint, the end. The others follow command
by command and write nothing anywhere, so every decision (to stop, to pause, to save, to end early)
is made once. Each process computes the gradients of its share of a step's rows, divided
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

from sekft_engine.core.errors import JobFailed, SekftError, Unavailable
from sekft_engine.model.device import choose_device, communication_backend, device_of
from sekft_engine.model.imports import import_torch
from sekft_engine.model.kernels.layers import decoder_layers
from sekft_engine.training.trainer.data import TrainRow
from sekft_engine.training.trainer.ranks import ALONE, Command, Ranks
from sekft_engine.training.trainer.step import Abandoned

if TYPE_CHECKING:
    import torch
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
    """Join the processes that the launcher started; without a launcher, this process is alone.

    Raises:
        Unavailable: they cannot be reached.
    """
    if not launched():
        return ALONE
    import_torch()
    import torch.distributed as dist

    if not dist.is_initialized():
        with contextlib.suppress(Unavailable):  # a job may say that it does without cards
            device_of(choose_device()).use()
        try:
            dist.init_process_group(communication_backend(), timeout=PATIENCE)
        except (ValueError, RuntimeError) as error:
            raise Unavailable(
                f"the other processes cannot be reached: {str(error).splitlines()[0]}",
                mend="start sekft with torchrun or accelerate launch",
            ) from error
    return Processes()


def part() -> None:
    """Leave the others; the leader announces the end to them."""
    if not launched():
        return
    import torch.distributed as dist

    if dist.is_initialized():
        with contextlib.suppress(RuntimeError):  # some may have ended already
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

    # --- commands -----------------------------------------------------------------------------

    def announce(self, command: Command, *arguments: Any) -> None:
        if self.rank == 0:
            self._dist.broadcast_object_list([(command, arguments)], src=0)

    def receive(self) -> tuple[Command, tuple[Any, ...]]:
        """The leader's next command and its arguments."""
        received: list[Any] = [None]
        self._dist.broadcast_object_list(received, src=0)
        command, arguments = received[0]
        return command, arguments

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """A context whose errors in one process are raised in all."""
        problem: Exception | None = None
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the others must learn of whatever it is
            problem = error
        problems: list[Any] = [None] * self.size
        self._dist.all_gather_object(problems, _portable(problem))
        if problem is not None:
            raise problem
        for rank, theirs in enumerate(problems):
            if theirs is not None:
                theirs.add_note(f"in process {rank} of {self.size}")
                raise theirs

    # --- a step -------------------------------------------------------------------------------

    def share(self, rows: Sequence[TrainRow]) -> Sequence[TrainRow]:
        """Each row, longest first, goes to the process with the fewest tokens so far."""
        tokens = [0] * self.size
        own = []
        for number in sorted(range(len(rows)), key=lambda number: -len(rows[number])):
            rank = tokens.index(min(tokens))
            tokens[rank] += len(rows[number])
            if rank == self.rank:
                own.append(number)
        return [rows[number] for number in sorted(own)]

    def extra_passes(self, own: int) -> int:
        if not self.sharded:
            return 0
        import torch

        most = torch.tensor(own)
        self._dist.all_reduce(most, op=self._dist.ReduceOp.MAX)
        return int(most) - own

    def broadcast_weights(self, weights: Sequence[Tensor]) -> None:
        import torch

        with torch.no_grad():
            for weight in weights:
                self._dist.broadcast(weight, src=0)

    def sum_gradients(self, weights: Sequence[Tensor]) -> None:
        """Sum all gradients in one message, since an adapter is small."""
        import torch

        for weight in weights:
            if weight.grad is None:  # this process had no row of the step
                weight.grad = torch.zeros_like(weight)
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        self._dist.all_reduce(flat)
        sums = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, total in zip(gradients, sums, strict=True):
            gradient.copy_(total.view_as(gradient))

    def sum(self, *numbers: float) -> tuple[float, ...]:
        import torch

        total = torch.tensor(numbers, dtype=torch.float64)
        self._dist.all_reduce(total)
        return tuple(total.tolist())

    def seed(self, seed: int, step: int) -> None:
        """Seed by step and rank: processes differ, and a resumed run draws the same numbers."""
        import torch

        torch.manual_seed(((seed + 1) << 40) + (step << 12) + self.rank)

    # --- the base -----------------------------------------------------------------------------

    def shard(self, model: Any, place: torch.device) -> None:
        """Shard the layers of the base unless they are sharded already.

        Trainable weights stay whole in each process.
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        self.sharded = True
        layers = decoder_layers(model)
        if not layers:
            raise Unavailable("this base has no list of layers that could be spread over processes")
        if isinstance(layers[0], FSDPModule):
            return
        probe = _Probe(layers[0])
        mesh = init_device_mesh(place.type, (self.size,))
        for layer in layers:
            adapter = {tensor for name, tensor in layer.named_parameters() if ".lora_" in name}
            # Each layer is a root, and would stay whole after a pass without gradients: in all
            # processes but the one that saves the adapter, which shards it again.
            fully_shard(layer, mesh=mesh, ignored_params=adapter, reshard_after_forward=True)
        model.to(place)
        probe.compare(place)


class _Probe:
    """The output of a linear layer before sharding, to be compared with its output afterwards.

    If sharding reordered the weights, the adapter would silently be trained for another base.
    """

    def __init__(self, layer: Any) -> None:
        import torch

        self._layer = layer
        self._linear = next(part for part in layer.modules() if hasattr(part, "in_features"))
        generator = torch.Generator().manual_seed(0)
        self._x = torch.randn(4, self._linear.in_features, generator=generator)
        self._expected = self._output(self._x.device)

    def _output(self, device: torch.device) -> Tensor:
        import torch

        weight = next(self._linear.parameters())
        dtype = weight.dtype if weight.is_floating_point() else torch.float32
        with torch.no_grad():
            output: Tensor = self._linear(self._x.to(device, dtype))
        return output.float().cpu()

    def compare(self, device: torch.device) -> None:
        """Raise :class:`Unavailable` if the output has changed."""
        import torch

        self._layer.unshard()
        try:
            same = torch.allclose(self._output(device), self._expected, rtol=0.02, atol=0.02)
        except (RuntimeError, AssertionError):
            same = False
        self._layer.reshard()
        if not same:
            raise Unavailable(
                "this base computes something else once it is spread over processes",
                where="--shard-base",
                mend="leave it out, or load the base without --load-4bit",
            )


def here() -> str:
    """The name of this process in messages."""
    return f"process {os.environ.get('RANK', '0')} on {socket.gethostname()}"


def _portable(problem: Exception | None) -> Exception | None:
    if problem is None or isinstance(problem, SekftError | Abandoned):
        return problem
    return JobFailed(f"{here()}: {type(problem).__name__}: {problem}")
