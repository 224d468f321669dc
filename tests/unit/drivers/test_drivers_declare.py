import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampacity.drivers.local.declare import parse_declaration
from ampacity.drivers.local.machine import this_machine
from ampacity.model.errors import InvalidSpec


def test_a_whole_declaration():
    node = parse_declaration(
        "n1:cpus=8,memory=32GB,disk=1TiB,pool=big,site=a/room-2/rack-7,H100=8,rail=r1,A100-SXM4=1x40GB"
    )
    assert (node.id, node.driver, node.declared, node.pool) == ("n1", "local", True, "big")
    assert (node.cpu_milli, node.memory_bytes, node.disk_bytes) == (8000, 32 * 10**9, 1 << 40)
    assert node.trees == {"site": ("a", "room-2", "rack-7"), "rail": ("r1",)}
    assert [device.index for device in node.devices] == list(range(9))
    assert [device.id for device in node.devices] == [f"n1/{index}" for index in range(9)]
    assert {(device.kind, device.memory_bytes) for device in node.devices} == {
        ("H100", 80 * 10**9),
        ("A100-SXM4", 40 * 10**9),
    }


def test_a_node_needs_no_accelerators_and_may_have_a_part_of_a_cpu():
    node = parse_declaration("edge-7.site:cpus=0.5,memory=512MiB")
    assert (node.cpu_milli, node.memory_bytes, node.devices) == (500, 512 << 20, ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("n1", "'n1' is not a node's name"),
        (":cpus=1,memory=1GB", "not a node's name"),
        ("a b:cpus=1,memory=1GB", "not a node's name"),
        ("n1:memory=1GB", "cpus is missing"),
        ("n1:cpus=1", "memory is missing"),
        ("n1:cpus=1,memory=1GB,", "'' is not KEY=VALUE"),
        ("n1:cpus=1,cpus=2,memory=1GB", "cpus is given twice"),
        ("n1:cpus=many,memory=1GB", "'many' is not a number of CPUs"),
        ("n1:cpus=0,memory=1GB", "'0' is not a number of CPUs"),
        ("n1:cpus=1,memory=lots", "memory: "),
        ("n1:cpus=1,memory=32", "memory: "),
        ("n1:cpus=1,memory=1GB,H100=some", "H100=some is neither"),
        ("n1:cpus=1,memory=1GB,H100=0", "H100=0 is neither"),
        ("n1:cpus=1,memory=1GB,H100=8xbig", "H100: "),
        ("n1:cpus=1,memory=1GB,site=a//b", "'a//b' is not a path"),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong_and_how_it_is_written(text, said):
    with pytest.raises(InvalidSpec) as caught:
        parse_declaration(text)
    assert said in str(caught.value)
    assert text in caught.value.message
    assert caught.value.hint


@given(
    cpu_milli=st.integers(1, 10**6),
    memory_mb=st.integers(1, 10**7),
    counts=st.dictionaries(st.sampled_from(["H100", "L4", "MI300X", "Foo-9"]), st.integers(1, 16)),
)
def test_what_is_declared_is_what_the_node_has(cpu_milli, memory_mb, counts):
    parts = [f"cpus={cpu_milli / 1000:.3f}", f"memory={memory_mb}MB", *(f"{kind}={n}" for kind, n in counts.items())]
    node = parse_declaration("x:" + ",".join(parts))
    assert node.cpu_milli == cpu_milli
    assert node.memory_bytes == memory_mb * 10**6
    found = [device.kind for device in node.devices]
    assert {kind: found.count(kind) for kind in set(found)} == counts
    assert len({device.id for device in node.devices}) == len(found)


def test_this_machine_is_a_node_without_accelerators(tmp_path):
    node = this_machine(tmp_path)
    assert node.cpu_milli >= 1000
    assert node.memory_bytes > 0
    assert node.devices == ()
    assert node.boot_id
    assert not node.declared


def test_labels_taints_feeds_and_instances():
    node = parse_declaration(
        "n1:cpus=8,memory=32GB,A100-1g.10gb=7,A100=1,label.zone=a,taint.team=vision,counted.fpga=2,feed=pdu-1"
    )
    assert node.labels == {"zone": "a"}
    assert node.taints == ("team=vision",)
    assert node.counted == {"fpga": 2}
    assert node.feed == "pdu-1"
    assert [(device.kind, device.profile, device.memory_bytes // 10**9) for device in node.devices[6:]] == [
        ("A100-1g.10gb", "1g.10gb", 10),
        ("A100", "", 80),
    ]


def test_profiles_of_instances_are_taken_as_nvidia_writes_them():
    node = parse_declaration(
        "n1:cpus=8,memory=32GB,H100-3g.40gb+me=1,H100-1c.3g.40gb=1,RTXPRO6000-1g.24gb-me=1,RTXPRO6000-1g.24gb+me.all=1"
    )
    assert [(device.profile, device.memory_bytes // 10**9) for device in node.devices] == [
        ("3g.40gb+me", 40),
        ("1c.3g.40gb", 40),
        ("1g.24gb-me", 24),
        ("1g.24gb+me.all", 24),
    ]


@pytest.mark.parametrize("wrong", ["label.zone=a b", "counted.fpga=0", "counted.fpga=x", "taint.=a"])
def test_wrong_marks_are_refused(wrong):
    with pytest.raises(InvalidSpec):
        parse_declaration(f"n1:cpus=8,memory=32GB,{wrong}")
