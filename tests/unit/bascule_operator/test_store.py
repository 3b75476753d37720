"""What was last seen: never older than what is known, and with what is asked of it often."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bascule_api.conditions import Phase
from bascule_operator.store import Key, Store
from bascule_operator.sweep import restless, speaks_for
from tests.support.subjects import UID, ABuild, build, identity

KEY = Key("ImageBuild", "acme-dev", "web")


def versioned(made: ABuild, version: int, **metadata: Any) -> dict[str, Any]:
    return made.body | {"metadata": made.body["metadata"] | {"resourceVersion": str(version)} | metadata}


def test_an_older_version_or_our_own_write_coming_back_is_no_news() -> None:
    store = Store()
    assert store.put(KEY, versioned(build(), 5))
    assert not store.put(KEY, versioned(build(), 5))
    assert not store.put(KEY, versioned(build(), 4))
    assert store.put(KEY, versioned(build(), 6))


def test_another_object_of_the_same_name_is_news_whatever_its_version() -> None:
    store = Store()
    store.put(KEY, versioned(build(), 5))
    assert store.put(KEY, versioned(build(), 3, uid="another"))


def test_unfinished_runs_are_known_by_their_temporal_namespace() -> None:
    store = Store()
    store.put(KEY, versioned(build().running(), 1))
    assert [run.key for run in store.live_runs()["acme"].values()] == [KEY]
    store.put(KEY, versioned(build().finished(), 2))
    assert store.live_runs() == {}


def test_a_run_that_is_being_undone_is_followed_by_its_undo_workflow() -> None:
    store = Store()
    store.put(KEY, versioned(build().finished(Phase.FAILED).undoing(2), 1))
    assert list(store.live_runs()["acme"]) == [f"imagebuild/{UID}/1/undo/2"]
    store.put(KEY, versioned(build().finished(Phase.FAILED).undoing(2, state="Failed"), 2))
    assert store.live_runs() == {}


def test_resources_that_share_a_tag_find_each_other() -> None:
    store, other = Store(), Key("ImageBuild", "acme-dev", "other")
    published = {"repository": "r.test/acme/web", "tags": [{"name": "v1", "digest": "sha256:a"}]}
    for key in (KEY, other):
        store.put(key, versioned(build().finished().saying(published=published), 1))
    assert store.sharing_tags([("r.test/acme/web", "v1")], KEY) == {other}
    store.remove(other)
    assert store.sharing_tags([("r.test/acme/web", "v1")], KEY) == set()


def test_what_was_published_is_read_once_and_not_by_each_that_shares_the_tag() -> None:
    store = Store()
    published = {"repository": "r.test/acme/web", "tags": [{"name": "v1", "digest": "sha256:a"}]}
    past = [{"number": 1, "phase": "Succeeded", "finishedAt": "2026-01-02T03:04:05Z"}]
    store.put(KEY, versioned(build().finished().saying(published=published, history=past), 1))
    entry = store.get(KEY)
    assert entry is not None
    assert entry.published is not None
    assert (entry.published.name, entry.published.tags[0].digest) == ("acme-dev/web", "sha256:a")


def test_every_change_of_tenants_and_procedures_is_told_and_who_waits_for_one_is_known() -> None:
    told: list[list[Key]] = []
    store = Store(lambda: told.append(store.blocked))
    store.put(KEY, versioned(build().saying(blocked={"reason": "TenantNotFound"}), 1))
    store.put(Key("Tenant", "", "acme"), {"metadata": {"name": "acme", "uid": "1", "resourceVersion": "1"}})
    store.put(KEY, versioned(build().running(), 2))
    store.put(Key("Procedure", "", "p"), {"metadata": {"name": "p", "uid": "2", "resourceVersion": "1"}})
    assert told == [[KEY], []]


def test_a_tenant_that_does_not_fit_its_schema_counts_as_not_there() -> None:
    store, key = Store(), Key("Tenant", "", "acme")
    store.put(key, {"metadata": {"name": "acme", "uid": "1", "resourceVersion": "1"}, "spec": {}})
    assert store.tenants == {}


def test_a_resource_speaks_for_its_current_run_and_for_none_of_its_past() -> None:
    subject = build().subject
    current = build().running(2).body
    assert speaks_for(current, identity(subject, 2))
    assert not speaks_for(current, identity(subject, 1))
    assert not speaks_for(current, identity(subject, 2, revision="1-0000000000"))
    assert speaks_for(current, identity(subject, 3)), "an intent that this list does not show yet"
    assert not speaks_for(current, identity(subject, 2, uid="another"))
    assert not speaks_for(build().finished().body, identity(subject)), "it is over: somebody reset it"


def test_only_what_is_not_at_rest_is_looked_at_again() -> None:
    seen = {"observedGeneration": 1}
    assert not restless(build().finished().saying(**seen).body)
    assert restless(build().finished().saying(observedGeneration=0).body)
    assert restless(build().running().saying(**seen).body)
    assert restless(build().finished(Phase.FAILED).undoing().saying(**seen).body)
    assert not restless(build().finished(Phase.FAILED, "Failed").saying(**seen).body)
    assert restless(build().finished().saying(**seen).deleting().body)
    assert restless(build().finished().saying(**seen).requested().body)
    assert restless(build().saying(**seen, blocked={"reason": "TenantNotFound"}).body)


def test_the_end_of_an_object_does_not_forget_another_of_its_name() -> None:
    """Events of two objects of one name may arrive in any order."""
    store = Store()
    store.put(KEY, versioned(build(), 7, uid="second"))
    store.remove(KEY, "first")
    assert store.get(KEY) is not None
    store.remove(KEY, "second")
    assert store.get(KEY) is None


def test_schedules_are_told_as_long_as_they_are_served() -> None:
    told: list[tuple[str, datetime | None]] = []
    store = Store(due=lambda key, due: told.append((key.name, due)))
    waits = build().scheduled().due("2026-11-23T03:00:00Z")
    store.put(KEY, versioned(waits, 1))
    store.put(KEY, versioned(waits.suspended(), 2))
    store.put(KEY, versioned(waits, 3))
    store.put(KEY, versioned(build(), 4))
    store.put(KEY, versioned(waits, 5))
    store.remove(KEY, "another")
    store.remove(KEY)
    due = datetime(2026, 11, 23, 3, tzinfo=UTC)
    assert told == [("web", due), ("web", None), ("web", due), ("web", None), ("web", due), ("web", None)]


def test_what_would_be_in_the_way_of_a_due_run_is_looked_at_again_when_the_platform_changes() -> None:
    for reason, waits in (("ProcedureNotFound", [KEY]), ("Suspended", [])):
        store = Store()
        said = {"type": "Scheduled", "status": "False", "reason": reason, "lastTransitionTime": "2026-11-22T12:00:00Z"}
        store.put(KEY, versioned(build().scheduled().saying(conditions=[said]), 1))
        assert store.blocked == waits
