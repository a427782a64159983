"""One meter of the street and its manager's association: what a test sets, asks, and waits for."""

from dcu.cosem import axdr, data
from dcu.model import AttributeRef, MethodRef, Obis
from neighbourhood import truth
from neighbourhood.meter import MANAGEMENT
from tests.neighbourhood.conversation import Street

ANY_DAY = b"\xff" * 5
TARIFFS = Obis.parse("0-0:10.0.100*255")
MASKS = "6,0-0:14.0.0*255"
CLOCK = "8,0-0:1.0.0*255"


class House:
    """One meter, its manager's association, and time that moves when it is told."""

    def __init__(self, **options):
        self.street = Street(1, **options)
        self.meter = self.street.meter(1)
        self.client = self.street.client(1, MANAGEMENT)

    def get(self, written):
        return axdr.decode(self.client(self.client.session.get(AttributeRef.parse(written)))).value

    def set(self, written, value):
        self.client(self.client.session.set(AttributeRef.parse(written), axdr.encode(value)))

    def call(self, written, value=None):
        ref = AttributeRef.parse(written)
        method = MethodRef(ref.class_id, ref.obis, ref.attribute)
        raw = self.client(self.client.session.action(method, axdr.encode(value or data.i8(0))))
        return None if raw is None else axdr.decode(raw)

    def wait(self, seconds):
        self.street.now += seconds

    def until(self, second):
        self.street.now = second

    def true(self, shown):
        """The true second at which the meter's clock shows `shown`: by the street's truth."""
        return shown - truth.clock_error(7, 1, shown)

    def rates(self):
        return [self.get(f"3,1-0:1.8.{rate}*255,2") for rate in (1, 2, 3, 4)]

    def taken(self, first, last):
        """Wh between two true seconds."""
        return truth.registers(7, 1, last).active_import - truth.registers(7, 1, first).active_import

    def happened(self, code):
        return [at for at, event in self.meter.events() if event == code]


def script(table, number):
    return data.structure(data.octets(table.raw), data.u16(number))


def at(hour, minute=0, table=TARIFFS, number=1):
    return data.structure(data.octets(bytes((hour, minute, 0, 0))), data.octets(table.raw), data.u16(number))
