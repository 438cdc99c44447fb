"""Whether a run has something left to do at a host: worked out for all tasks of its play at once, before the first.

A task that does nothing costs the controller 40 ms all the same, and a run without a change has 90 of them. This goes
by them as Ansible would, with the variables that Ansible would have, and asks each action that knows what the survey
saw what it will answer (`foreseen`, see gatewright/noted.py). Whatever cannot be told beforehand (a module of
Ansible's own, a loop that has items, an error) counts as something to do: in doubt a run goes through its tasks.

It leans on how ansible-core holds a play, which is no interface; tests/unit/library/test_plan.py compares what it says
with what ansible-playbook does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.playbook.block import Block
from ansible.playbook.helpers import load_list_of_blocks
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template
from ansible.utils.vars import load_extra_vars

from gatewright import needs

PROOF = "gateway_proof"
"""The action that ends each run: whoever leaves a host after a plan proves by it, too."""
QUIET_META = frozenset({"flush_handlers", "noop", "role_complete"})
SURVEY = ("survey__host", "survey__answers", "survey__due", "survey__running")
"""What holds for the whole run, and is asked often."""
SKIPPED = {"changed": False, "skipped": True}


class Due(Exception):
    """A task that will send something, or of which nobody can tell beforehand."""


class Plan:
    """The tasks of a play (those of its roles, and post_tasks), as a run of one host would find them.

    passed: how many have nothing to do. remarks: what they will show without doing anything.
    """

    def __init__(self, action: ActionBase, task_vars: Mapping[str, Any]) -> None:
        self._action = action
        self._vars = dict(task_vars)
        self._above = set(load_extra_vars(action._loader))
        self.passed = 0
        self.remarks: list[str] = []

    def due(self) -> str:
        """The first task that has something to do, and why that is thought; empty if none has."""
        try:
            play = self._action._task.get_play()
            self._vars |= {name: self._templated(trust_as_template(f"{{{{ {name} }}}}"), self._vars) for name in SURVEY}
            with needs.remembering():
                for task in self._tasks([*play.tasks, *play.post_tasks]):
                    self._pass(task)
        except Due as reason:
            return str(reason)
        except Exception as error:  # an ansible-core that holds a play otherwise
            return f"there is no plan: {error!r}"
        return ""

    def _tasks(self, items: Iterable[Any]) -> Iterator[Any]:
        """All tasks in blocks of blocks; what would only rescue another is none that runs."""
        for item in items:
            if isinstance(item, Block):
                yield from self._tasks([*item.block, *item.always])
            else:
                yield item

    def _pass(self, task: Any) -> None:
        """Go by a task as a run that has nothing to do; raises Due if it has."""
        if task.action == PROOF:
            return
        try:
            answer = self._answer(task, self._known_to(task))
        except Due:
            raise
        except Exception as error:  # whatever it is, the run itself will tell it better
            raise Due(task.get_name() if task.no_log else f"{task.get_name()}: {error}") from error
        self.passed += 1
        if task.register:
            self._set({self._registered(task): answer})  # on which nothing that roles publish depends

    def _set(self, variables: Mapping[str, Any]) -> None:
        self._vars |= variables
        self._above |= set(variables)

    def _known_to(self, task: Any) -> dict[str, Any]:
        """All variables of a task: with its own, and those of its blocks and its role, below what was set meanwhile."""
        role = task._role
        own: dict[str, Any] = {"ansible_search_path": task.get_search_path()}
        if role is not None:
            own |= role.get_vars(task.get_dep_chain(), include_params=False)
            own |= {"role_name": role.get_name(), "role_path": role._role_path}
        own |= task.get_vars()
        return self._vars | {name: value for name, value in own.items() if name not in self._above}

    def _registered(self, task: Any) -> str:
        name = task.register
        if isinstance(name, Mapping):  # how ansible-core from 2.20 on holds it
            (name,) = name
        return str(name)

    def _answer(self, task: Any, known: dict[str, Any]) -> dict[str, Any]:
        """What a task answers that has nothing to do."""
        if task.loop is not None or task.loop_with:
            return self._loop_answer(task, known)
        if not task._resolve_conditional(task.when, known):
            return dict(SKIPPED)
        name = task.action.rpartition(".")[2]
        if self._is_judged(task, known) or task.run_once or task.delegate_to:
            raise Due(task.get_name())
        special = getattr(self, f"_answer_{name}", None)
        if special is not None:
            answer: dict[str, Any] = special(task, known)
            return answer
        return self._foreseen(task, known)

    def _is_judged(self, task: Any, known: dict[str, Any]) -> bool:
        """Whether keywords make another answer of a task's; not by a condition of failure that does not hold."""
        if any(value not in ([], None) for value in (task.changed_when, task.until)):
            return True
        if task.failed_when in ([], None):
            return False
        fails = task.failed_when if isinstance(task.failed_when, list) else [task.failed_when]
        return bool(task._resolve_conditional(fails, known))

    def _loop_answer(self, task: Any, known: dict[str, Any]) -> dict[str, Any]:
        """That of a loop whose condition holds for no item; if its list cannot be made, the condition decides alone."""
        items = None
        if not task.loop_with:
            with suppress(AnsibleError):
                items = self._templated(task.loop, known)
        if items is not None and not isinstance(items, list):
            raise Due(f"{task.get_name()}: its loop is no list")
        name = task.loop_control.loop_var if task.loop_control else "item"
        for own in [{}] if items is None else [{name: item} for item in items]:
            if task._resolve_conditional(task.when, known | own):
                raise Due(f"{task.get_name()}: it has items")
        return {**SKIPPED, "results": []}

    def _answer_meta(self, task: Any, known: dict[str, Any]) -> dict[str, Any]:
        if task.args.get("_raw_params") not in QUIET_META:
            raise Due(task.get_name())
        return {"changed": False}

    def _answer_set_fact(self, task: Any, known: dict[str, Any]) -> dict[str, Any]:
        facts = dict(self._templated(task.args, known))
        if facts.pop("cacheable", False):
            raise Due(f"{task.get_name()}: it sets a fact for later runs")
        self._set(facts)
        needs.forget()
        return {"changed": False, "ansible_facts": facts}

    def _answer_debug(self, task: Any, known: dict[str, Any]) -> dict[str, Any]:
        if task.no_log or "msg" not in task.args:
            raise Due(task.get_name())
        said = self._templated(task.args["msg"], known)
        self.remarks += map(str, said if isinstance(said, list) else [said])
        return {"changed": False, "msg": said}

    def _answer_assert(self, task: Any, known: dict[str, Any]) -> dict[str, Any]:
        that = task.args["that"]
        if not task._resolve_conditional(that if isinstance(that, list) else [that], known):
            raise Due(f"{task.get_name()}: it will fail")
        return {"changed": False}

    def _answer_include_tasks(self, task: Any, known: dict[str, Any]) -> dict[str, Any]:
        """Go by the tasks of a role's file."""
        include = task.copy()
        named = self._templated(include.args.get("file") or include.args.get("_raw_params"), known)
        file = str(Path(task._role._role_path) / "tasks" / named)
        loader = self._action._loader
        blocks = load_list_of_blocks(
            loader.load_from_file(file, trusted_as_template=True),
            play=self._action._task.get_play(),
            parent_block=include.build_parent_block(),
            role=task._role,
            loader=loader,
            variable_manager=task._variable_manager,
        )
        for inner in self._tasks(blocks):
            self._pass(inner)
        return {"changed": False}

    def _foreseen(self, task: Any, known: dict[str, Any]) -> dict[str, Any]:
        """What an action that knows the survey will answer."""
        plugins = self._action._shared_loader_obj
        kind = plugins.action_loader.get(task.action, class_only=True)
        if not hasattr(kind, "foreseen"):
            raise Due(task.get_name())
        own = task.copy(exclude_parent=True)
        own._parent = task._parent
        own.args = self._templated(task.args, known)
        handler = kind(
            task=own,
            connection=self._action._connection,
            play_context=self._action._play_context,
            loader=self._action._loader,
            templar=self._action._templar.copy_with_new_env(available_variables=known),
            shared_loader_obj=plugins,
        )
        answer: dict[str, Any] | None = handler.foreseen(known)
        if answer is None:
            raise Due(task.get_name())
        return answer

    def _templated(self, value: Any, known: dict[str, Any]) -> Any:
        return self._action._templar.copy_with_new_env(available_variables=known).template(value)
