"""What training found: the documents of ``sekft train``, of the search for a learning rate, and of
measured token losses."""

from __future__ import annotations

import msgspec

from sekft_engine.records.result import Result


class Losses(msgspec.Struct, frozen=True, kw_only=True):
    """Mean losses per trained token, in nats: of the first and the last step, and held out."""

    first: float | None = None
    last: float | None = None
    heldout: float | None = None


class BestAdapter(msgspec.Struct, frozen=True, kw_only=True):
    """The best step so far, what it was judged ``by``, and the folder of its adapter."""

    step: int = 0
    by: str = ""
    adapter: str = ""


class TrialRates(msgspec.Struct, frozen=True, kw_only=True):
    """How many of ``n`` trial episodes after ``step`` operated, terminated, and so on."""

    step: int = 0
    n: int = 0
    operates: int = 0
    terminates: int = 0
    verified: int = 0
    clean_termination: int = 0


class LossMeans(msgspec.Struct, frozen=True, kw_only=True):
    """Mean losses of ``tokens`` trained tokens without and with the adapter, in nats."""

    trajectories: int = 0
    tokens: int = 0
    before: float | None = None
    after: float | None = None


class LossTotals(LossMeans, frozen=True, kw_only=True):
    """The means over everything that was measured, and by part of the data."""

    parts: dict[str, LossMeans] = {}


class TrainResult(Result, frozen=True, kw_only=True):
    """A training run. ``adapter`` is '' and ``adapter_step`` 0 where none was saved; ``signs`` are
    the steps of each warning sign."""

    run: str = ""
    path: str = ""
    name: str = ""
    steps: int = 0
    loss: Losses = Losses()
    trained_tokens: int = 0
    seconds: float = 0.0
    adapter: str = ""
    adapter_step: int = 0
    adapter_sha256: str = ""
    resumed: bool = False
    stopped_early: bool = False
    best: BestAdapter | None = None
    rates: TrialRates | None = None
    signs: dict[str, list[int]] = {}
    token_losses: LossTotals | None = None


class RatePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the learning-rate finder: its loss and that of the ``bare`` base on the same
    trajectories, in nats; ``share`` is the one over the other, ``smooth`` that over the steps so
    far."""

    step: int
    lr: float
    loss: float
    bare: float
    share: float
    smooth: float
    grad_norm: float


class FindRateResult(Result, frozen=True, kw_only=True):
    """A learning rate that suits the data. ``swept`` are the lowest and the highest rate tried."""

    suggested: float = 0.0
    lowest_loss_at: float = 0.0
    swept: list[float] = []
    steps: int = 0
    curve: list[RatePoint] = []
    seconds: float = 0.0


class MeasureResult(Result, frozen=True, kw_only=True):
    """Token losses of a run. ``measured`` are the ids that were measured now, ``known`` those that
    were before; the means are over the former."""

    run: str = ""
    path: str = ""
    known: list[str] = []
    measured: list[str] = []
    trajectories: int = 0
    tokens: int = 0
    before: float | None = None
    after: float | None = None
    parts: dict[str, LossMeans] = {}
