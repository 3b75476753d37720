"""Names and addresses of clusters side by side."""

from __future__ import annotations

import pytest

from hack.cluster.addresses import HostLink, choose_link, hosts_file, nth_address


def test_a_name_always_gets_the_same_link() -> None:
    assert choose_link("bascule", set()) == choose_link("bascule", set())


def test_a_taken_link_is_passed_over() -> None:
    first = choose_link("bascule", set())

    assert choose_link("bascule", {first.number}).number == first.number % 250 + 1


def test_no_link_is_left() -> None:
    with pytest.raises(ValueError, match="all links are taken"):
        choose_link("bascule", set(range(1, 251)))


def test_the_ends_of_a_link() -> None:
    link = HostLink(7)

    assert (link.interface, link.host, link.cluster) == ("bascule7", "10.246.7.1", "10.246.7.2")


def test_a_nodes_hosts_file_names_the_servers() -> None:
    text = hosts_file("node1", "10.247.0.2")

    assert "10.247.0.2 node1\n" in text
    names = "registry.bascule.test git.bascule.test temporal.bascule.test packages.bascule.test s3.bascule.test"
    assert f"10.247.0.1 {names}\n" in text


def test_the_nth_address_of_a_network() -> None:
    assert nth_address("10.244.2.0/24", 1) == "10.244.2.1"
