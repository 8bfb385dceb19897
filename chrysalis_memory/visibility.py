"""What a view of a memory sees: one rule for reading and writing, by namespace alone.

A view is restricted to a namespace and all below it. Whoever holds one must not learn of anything
else: a memory elsewhere is as one that does not exist, and so is one that was forgotten, for what
is left of it tells no namespace. Names that are given in a view (ids, links, evidence) lie below
its namespace, so that they never meet, or show, what others have named.
"""

from dataclasses import dataclass

from chrysalis_memory import wire
from chrysalis_memory.crdt.lww_register import value_of
from chrysalis_memory.errors import OutOfView
from chrysalis_memory.query import Filter
from chrysalis_memory.state import State


@dataclass(frozen=True, slots=True)
class Visibility:
    """What lies in a view.

    Attributes:
        namespace: The root of the view; ``""`` has everything in it.
        is_read_only: Whether nothing may be written.

    Raises:
        InvalidValue: no namespace.
    """

    namespace: str
    is_read_only: bool = False

    def __post_init__(self) -> None:
        wire.check_namespace(self.namespace)

    def sees(self, namespace: str) -> bool:
        """Tell whether a namespace lies in the view. Everything else here goes by this."""
        return not self.namespace or f"{namespace}/".startswith(f"{self.namespace}/")

    def sees_state(self, state: State) -> bool:
        """Tell whether a memory in this state lies in the view; a forgotten one never does."""
        return state.alive and self.sees(value_of(state.namespace, ""))

    def check(self, namespace: str) -> str:
        """Return a namespace that may be written to.

        Raises:
            OutOfView: it lies outside.
        """
        if not self.sees(namespace):
            raise OutOfView(
                f"the namespace {namespace!r} lies outside of {self.namespace!r}, to which this "
                "view of the memory is restricted"
            )
        return namespace

    def place(self, namespace: str | None) -> str:
        """Return where something new belongs: by default to the root of the view.

        Raises:
            OutOfView: it is to lie outside.
        """
        return self.namespace if namespace is None else self.check(namespace)

    def confine(self, wanted: Filter) -> Filter:
        """Return a filter that lets pass what the given one does, as far as it lies in the view."""
        asked = wanted.namespace_prefix or ""
        if self.sees(asked):
            return wanted
        if not asked or Visibility(asked).sees(self.namespace):
            return wanted.model_copy(update={"namespace_prefix": self.namespace})
        # No memory lies both in a namespace outside and in the view.
        outside = {"namespace": asked, "namespace_prefix": self.namespace}
        return wanted.model_copy(update=outside)

    def is_own(self, name: str) -> bool:
        """Tell whether a name lies below the namespace of the view, so that nobody else has it."""
        return not self.namespace or name.startswith(f"{self.namespace}/")

    def own(self, name: str) -> str:
        """Return a name that is given in the view as one that lies below its namespace."""
        return name if self.is_own(name) else f"{self.namespace}/{name}"
