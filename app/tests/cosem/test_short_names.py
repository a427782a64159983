"""Short names as the Blue Book gives them, and a meter's list of them, which may say anything."""

import pytest

from dcu.cosem import axdr, data, objects, short_names
from dcu.cosem.short_names import CURRENT, ShortNames, ShortObject, decode_short_names
from dcu.errors import AccessDenied, DecodeError
from dcu.model import AttributeRef, MethodRef, Obis

from .small_meter import CONNECTED, DISCONNECT, ENERGY, LIMIT, PROFILE
from .test_short import NAMES, ShortPair


@pytest.mark.parametrize(
    ("name", "ref"),
    [
        (0x0100, AttributeRef(3, ENERGY.obis, 1)),
        (0x0108, ENERGY),
        (0x0128, MethodRef(3, ENERGY.obis, 1)),  # register: reset
        (0x0420, DISCONNECT),
        (0x0358, MethodRef(7, PROFILE.obis, 1)),
        (0xFA08, AttributeRef(12, CURRENT, 2)),
        (0xFA58, MethodRef(15, CURRENT, 1)),  # reply_to_HLS_authentication
    ],
)
def test_names_are_those_of_the_blue_book(name, ref):
    assert NAMES.resolve(name) == ref
    assert (NAMES.method(ref) if isinstance(ref, MethodRef) else NAMES.attribute(ref)) == name


@pytest.mark.parametrize(
    ("name", "ref"),
    [
        (0xFA18, AttributeRef(12, CURRENT, 4)),
        (0xFA20, AttributeRef(12, CURRENT, 5)),
        (0xFA28, AttributeRef(12, CURRENT, 6)),
        (0xFA30, MethodRef(12, CURRENT, 3)),  # read_by_logicalname
        (0xFA40, MethodRef(12, CURRENT, 5)),  # change_secret
        (0xFA58, MethodRef(15, CURRENT, 1)),
        (0xFA60, MethodRef(12, CURRENT, 9)),  # add_user
        (0xFA68, MethodRef(12, CURRENT, 10)),
    ],
)
def test_an_association_with_users_has_attributes_where_older_ones_have_methods(name, ref):
    names = ShortNames([ShortObject(0xFA00, 12, 4, CURRENT)])
    assert names.resolve(name) == ref
    assert (names.method(ref) if isinstance(ref, MethodRef) else names.attribute(ref)) == name


def test_where_others_have_attributes_an_older_association_has_methods_and_another_class_its_own():
    assert NAMES.resolve(0xFA20) == MethodRef(12, CURRENT, 1)
    assert NAMES.resolve(0xFA28) == MethodRef(12, CURRENT, 2)
    newer = ShortNames([ShortObject(0x1000, 7, 4, PROFILE.obis)])
    assert newer.resolve(0x1038) == AttributeRef(7, PROFILE.obis, 8)


@pytest.mark.parametrize(
    ("class_id", "version", "methods", "begin"),
    [
        pytest.param(10, 0, 3, 0x20, id="schedule: enable_disable, insert, delete"),
        pytest.param(17, 0, 1, 0x20, id="SAP assignment: connect_logical_device"),
        pytest.param(61, 0, 2, 0x28, id="register table: reset, capture"),
        pytest.param(64, 0, 2, 0x28, id="security setup: security_activate, global_key_transfer"),
        pytest.param(64, 1, 8, 0x30, id="security setup, with certificates"),
        pytest.param(72, 0, 8, 0x60, id="M-Bus client: slave_install"),
        pytest.param(72, 1, 8, 0x70, id="M-Bus client, with two attributes more"),
    ],
)
def test_methods_begin_where_the_class_in_its_version_has_them(class_id, version, methods, begin):
    names = ShortNames([ShortObject(0x1000, class_id, version, LIMIT.obis)])
    for number in range(1, methods + 1):
        name = 0x1000 + begin + 8 * (number - 1)
        assert names.method(MethodRef(class_id, LIMIT.obis, number)) == name
        assert names.resolve(name) == MethodRef(class_id, LIMIT.obis, number)
    last = begin // 8
    assert names.resolve(0x1000 + begin - 8) == AttributeRef(class_id, LIMIT.obis, last)


def test_a_method_whose_short_name_nobody_has_published_has_none():
    names = ShortNames([ShortObject(0x1000, 115, 0, LIMIT.obis)])  # token gateway
    with pytest.raises(KeyError):
        names.method(MethodRef(115, LIMIT.obis, 1))
    assert names.resolve(0x1028) == AttributeRef(115, LIMIT.obis, 6)


@pytest.mark.parametrize("name", [0, 0x00F8, 0x0101, 0x0104])
def test_a_number_that_is_no_name_is_none(name):
    with pytest.raises(KeyError):
        NAMES.resolve(name)


def test_an_object_list_comes_back_as_it_was_written_and_reads_as_one_of_logical_names():
    again = decode_short_names(NAMES.encode())
    assert again.objects == NAMES.objects
    listed = {(each.class_id, each.obis) for each in objects.decode_object_list(again.logical())}
    assert listed == {(each.class_id, each.obis) for each in NAMES.objects if each.class_id != 12}


# --- what has no name


def attribute(number, ref=ENERGY):
    return AttributeRef(ref.class_id, ref.obis, number)


@pytest.mark.parametrize(
    "ref",
    [
        pytest.param(attribute(0), id="an attribute before the first"),
        pytest.param(attribute(-1), id="two before"),
        pytest.param(attribute(6), id="an attribute where reset stands"),
        pytest.param(attribute(33), id="an attribute where the next object stands"),
        pytest.param(MethodRef(3, ENERGY.obis, 0), id="a method before the first, where an attribute stands"),
        pytest.param(MethodRef(3, ENERGY.obis, 28), id="a method where the next object stands"),
        pytest.param(AttributeRef(115, LIMIT.obis, 65), id="beyond the last number"),
        pytest.param(AttributeRef(1, Obis(bytes(6)), 3), id="amid another object, askew"),
        pytest.param(AttributeRef(3, LIMIT.obis, 2), id="not listed"),
        pytest.param(MethodRef(1, LIMIT.obis, 1), id="of a class without methods"),
        pytest.param(MethodRef(12, CURRENT, 8), id="the proof by its other name"),
    ],
)
def test_what_has_no_name_is_given_none(ref):
    more = ((0xF000, 1, Obis(bytes(6))), (0xF00C, 1, ENERGY.obis), (0xFE00, 115, LIMIT.obis))
    names = ShortNames((*NAMES.objects, *(ShortObject(base, class_id, 0, obis) for base, class_id, obis in more)))
    with pytest.raises(KeyError) as error:
        names.method(ref) if isinstance(ref, MethodRef) else names.attribute(ref)
    assert error.value.args == (ref,)  # which is told


def test_the_last_number_is_a_name():
    names = ShortNames([ShortObject(0xFE00, 115, 0, LIMIT.obis)])
    assert names.attribute(AttributeRef(115, LIMIT.obis, 64)) == 0xFFF8


def test_who_reads_an_attribute_that_there_is_not_calls_no_method():
    """Attribute 5 of a disconnect control would stand where its remote_disconnect does."""
    pair = ShortPair("none").associated()
    with pytest.raises(AccessDenied, match="not in the meter's object list"):
        pair.run(pair.client.get(attribute(5, CONNECTED)))
    assert pair.meter.done == []


def test_the_proof_has_its_name_whatever_the_meter_lists_there():
    names = ShortNames([ShortObject(0xFA00, 12, 4, Obis.parse("0-0:40.0.1*255"))])
    proof = MethodRef(15, CURRENT, 1)
    assert names.method(proof) == 0xFA58
    assert names.resolve(0xFA58) == proof
    assert ShortNames([ShortObject(0x1000, 12, 2, LIMIT.obis)]).resolve(0x1058) == MethodRef(12, LIMIT.obis, 8)


# --- a list that is none


BASE, CLASS, VERSION, NAME = data.i16(0x100), data.u16(3), data.u8(0), data.octets(bytes(6))


def listed(base=BASE, class_id=CLASS, version=VERSION, name=NAME):
    return data.structure(base, class_id, version, name)


@pytest.mark.parametrize(
    "element",
    [
        pytest.param(listed(class_id=data.i16(-1)), id="a class below 0"),
        pytest.param(listed(class_id=data.u32(0x10000)), id="a class of more than 16 bits"),
        pytest.param(listed(version=data.i8(-1)), id="a version below 0"),
        pytest.param(listed(version=data.u16(256)), id="a version of more than 8 bits"),
        pytest.param(listed(base=data.u32(0x10000)), id="a base of more than 16 bits"),
        pytest.param(listed(base=data.i32(-0x8001)), id="a base below the least"),
        pytest.param(listed(name=data.octets(bytes(5))), id="five bytes of an OBIS code"),
        pytest.param(listed(base=data.octets(b"1")), id="a base that is a text"),
        pytest.param(data.structure(data.i16(1)), id="a base alone"),
        pytest.param(data.u8(1), id="a number"),
    ],
)
def test_an_element_that_is_none_is_refused(element):
    with pytest.raises(DecodeError, match="an element of the object list is no"):
        decode_short_names(axdr.encode(data.array([listed(), element])))


@pytest.mark.parametrize("count", [8192, 8193])
def test_so_many_objects_are_read_and_no_more(count):
    assert short_names.MAX_OBJECTS == 8192
    raw = axdr.encode(data.array([listed()] * count))
    if count == 8192:
        assert len(decode_short_names(raw).objects) == 2
        return
    with pytest.raises(DecodeError, match="too many"):
        decode_short_names(raw)


def test_a_list_that_is_no_array_is_refused():
    with pytest.raises(DecodeError, match="no array"):
        decode_short_names(axdr.encode(data.octets(bytes(6))))


def test_a_base_is_read_signed_and_unsigned():
    for base in (data.i16(-2), data.u16(0xFFFE)):
        assert decode_short_names(axdr.encode(data.array([listed(base=base)]))).objects[-1].base == 0xFFFE


def test_what_a_class_has_is_listed_and_of_an_unknown_one_the_first_two():
    names = ShortNames((ShortObject(0x100, 3, 0, ENERGY.obis), ShortObject(0x200, 9999, 0, LIMIT.obis)))
    register, unknown = objects.decode_object_list(names.logical())
    assert [each.attribute for each in register.attribute_access] == [1, 2, 3]
    assert [each.method for each in register.method_access] == [1]
    assert [each.attribute for each in unknown.attribute_access] == [1, 2]
    assert unknown.method_access == ()
