// SPDX-License-Identifier: GPL-3.0-or-later
// A meter made of jDLMS: what an independent stack answers to our client. Keys are published test vectors.
//
// Told (see Told) "serve PORT HDLC-PORT SN-PORT", it listens and says its system title.
// Clients: 16 none, 17 LLS "12345678", 18 HLS 5 GMAC authenticated + encrypted, 19 HLS 5 authenticated only, 20 as 18 with keys of
// 256 bits.
package interop;

import java.util.ArrayList;
import java.util.List;
import org.openmuc.jdlms.AttributeAccessMode;
import org.openmuc.jdlms.AuthenticationMechanism;
import org.openmuc.jdlms.CosemAttribute;
import org.openmuc.jdlms.CosemClass;
import org.openmuc.jdlms.CosemInterfaceObject;
import org.openmuc.jdlms.CosemMethod;
import org.openmuc.jdlms.CosemSnInterfaceObject;
import org.openmuc.jdlms.DlmsServer;
import org.openmuc.jdlms.IllegalMethodAccessException;
import org.openmuc.jdlms.LogicalDevice;
import org.openmuc.jdlms.SecuritySuite;
import org.openmuc.jdlms.SecuritySuite.EncryptionMechanism;
import org.openmuc.jdlms.SecuritySuite.SecurityPolicy;
import org.openmuc.jdlms.SelectiveAccessDescription;
import org.openmuc.jdlms.datatypes.DataObject;
import org.openmuc.jdlms.datatypes.DataObject.Type;
import org.openmuc.jdlms.settings.client.ReferencingMethod;
import org.openmuc.jdlms.sessionlayer.server.ServerSessionLayerFactories;

public final class JdlmsMeter {

    static final byte[] GUEK = hex("000102030405060708090A0B0C0D0E0F");
    static final byte[] GAK = hex("D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF");
    static final byte[] LONG_GUEK = hex("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F");
    static final byte[] LONG_GAK = hex("D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEF");
    static final int ROWS = 720;
    static final long START = 1767225600L; // 2026-01-01T00:00:00Z

    @CosemClass(id = 1)
    public static class Data extends CosemSnInterfaceObject {
        @CosemAttribute(id = 2, accessMode = AttributeAccessMode.READ_AND_WRITE, snOffset = 0x08)
        private DataObject value;

        Data(int shortName, String obis, DataObject value) {
            super(shortName, obis);
            this.value = value;
        }
    }

    @CosemClass(id = 3)
    public static class Register extends CosemSnInterfaceObject {
        @CosemAttribute(
                id = 2,
                type = Type.DOUBLE_LONG_UNSIGNED,
                accessMode = AttributeAccessMode.READ_ONLY,
                snOffset = 0x08)
        private DataObject value;

        @CosemAttribute(id = 3, type = Type.STRUCTURE, accessMode = AttributeAccessMode.READ_ONLY, snOffset = 0x10)
        private DataObject scalerUnit =
                DataObject.newStructureData(DataObject.newInteger8Data((byte) 0), DataObject.newEnumerateData(30));

        Register(int shortName, String obis, long value) {
            super(shortName, obis);
            this.value = DataObject.newUInteger32Data(value);
        }
    }

    @CosemClass(id = 7, version = 1)
    public static class Profile extends CosemInterfaceObject {
        @CosemAttribute(id = 2, type = Type.ARRAY, accessMode = AttributeAccessMode.READ_ONLY, selector = {1, 2})
        private DataObject buffer;

        @CosemAttribute(id = 3, type = Type.ARRAY, accessMode = AttributeAccessMode.READ_ONLY)
        private DataObject captureObjects = DataObject.newArrayData(List.of(
                column(8, hex("0000010000FF")), column(3, hex("0100010800FF")), column(3, hex("0100020800FF"))));

        @CosemAttribute(id = 4, type = Type.DOUBLE_LONG_UNSIGNED, accessMode = AttributeAccessMode.READ_ONLY)
        private DataObject period = DataObject.newUInteger32Data(3600);

        Profile() {
            super("1.0.99.1.0.255");
        }

        public DataObject getBuffer(SelectiveAccessDescription selection) {
            List<DataObject> rows = new ArrayList<>();
            for (int row = 0; row < ROWS; row++) {
                if (selection == null || selected(selection, row)) {
                    rows.add(DataObject.newStructureData(
                            DataObject.newOctetStringData(clock(START + 3600L * row)),
                            DataObject.newUInteger32Data(1000L + 17L * row),
                            DataObject.newUInteger32Data(3L * row)));
                }
            }
            return DataObject.newArrayData(rows);
        }

        private static boolean selected(SelectiveAccessDescription selection, int row) {
            List<DataObject> parameter = selection.getAccessParameter().getValue();
            if (selection.getAccessSelector() == 2) {
                long first = ((Number) parameter.get(0).getValue()).longValue();
                long last = ((Number) parameter.get(1).getValue()).longValue();
                return row + 1 >= first && (last == 0 || row + 1 <= last);
            }
            long at = START + 3600L * row;
            return at >= seconds(parameter.get(1)) && at <= seconds(parameter.get(2));
        }
    }

    @CosemClass(id = 70)
    public static class Relay extends CosemInterfaceObject {
        @CosemAttribute(id = 2, type = Type.BOOLEAN, accessMode = AttributeAccessMode.READ_ONLY)
        private DataObject outputState = DataObject.newBoolData(true);

        @CosemAttribute(id = 3, type = Type.ENUMERATE, accessMode = AttributeAccessMode.READ_ONLY)
        private DataObject controlState = DataObject.newEnumerateData(1);

        @CosemAttribute(id = 4, type = Type.ENUMERATE, accessMode = AttributeAccessMode.READ_ONLY)
        private DataObject controlMode = DataObject.newEnumerateData(2);

        Relay() {
            super("0.0.96.3.10.255");
        }

        @CosemMethod(id = 1, consumes = Type.INTEGER)
        public void disconnect(DataObject ignored) throws IllegalMethodAccessException {
            outputState = DataObject.newBoolData(false);
            controlState = DataObject.newEnumerateData(0);
        }

        @CosemMethod(id = 2, consumes = Type.INTEGER)
        public void reconnect(DataObject ignored) throws IllegalMethodAccessException {
            outputState = DataObject.newBoolData(true);
            controlState = DataObject.newEnumerateData(1);
        }
    }

    /** What its one method is given, it returns a hundred times over. */
    @CosemClass(id = 9)
    public static class Echo extends CosemInterfaceObject {
        Echo() {
            super("0.0.10.0.100.255");
        }

        @CosemMethod(id = 1, consumes = Type.OCTET_STRING)
        public DataObject execute(DataObject given) throws IllegalMethodAccessException {
            byte[] once = given.getValue();
            byte[] often = new byte[100 * once.length];
            for (int at = 0; at < often.length; at++) {
                often[at] = once[at % once.length];
            }
            return DataObject.newOctetStringData(often);
        }
    }

    static DataObject column(int classId, byte[] obis) {
        return DataObject.newStructureData(
                DataObject.newUInteger16Data(classId),
                DataObject.newOctetStringData(obis),
                DataObject.newInteger8Data((byte) 2),
                DataObject.newUInteger16Data(0));
    }

    /** COSEM date-time in UTC, deviation 0. */
    static byte[] clock(long epoch) {
        java.time.ZonedDateTime t = java.time.Instant.ofEpochSecond(epoch).atZone(java.time.ZoneOffset.UTC);
        return new byte[] {
            (byte) (t.getYear() >> 8), (byte) t.getYear(), (byte) t.getMonthValue(), (byte) t.getDayOfMonth(),
            (byte) t.getDayOfWeek().getValue(), (byte) t.getHour(), (byte) t.getMinute(), (byte) t.getSecond(),
            0, 0, 0, 0
        };
    }

    static long seconds(DataObject clock) {
        byte[] raw = clock.getValue();
        int deviation = (short) ((raw[9] & 0xFF) << 8 | raw[10] & 0xFF);
        long local = java.time.LocalDateTime.of(
                        (raw[0] & 0xFF) << 8 | raw[1] & 0xFF, raw[2], raw[3], raw[5], raw[6], raw[7])
                .toEpochSecond(java.time.ZoneOffset.UTC);
        return deviation == -32768 ? local : local + 60L * deviation;
    }

    static SecuritySuite hls(SecurityPolicy policy, EncryptionMechanism mechanism, byte[] guek, byte[] gak) {
        return SecuritySuite.builder()
                .setAuthenticationMechanism(AuthenticationMechanism.HLS5_GMAC)
                .setEncryptionMechanism(mechanism)
                .setGlobalUnicastEncryptionKey(guek)
                .setAuthenticationKey(gak)
                .setSecurityPolicy(policy)
                .build();
    }

    static byte[] hex(String text) {
        return java.util.HexFormat.of().parseHex(text);
    }

    /** A server takes a device for itself: each has one of its own, alike. */
    static LogicalDevice device() {
        LogicalDevice device = new LogicalDevice(1, "ISK1030775213859", "ISK", 9999L);
        device.addRestriction(16, SecuritySuite.builder()
                .setAuthenticationMechanism(AuthenticationMechanism.NONE).build());
        device.addRestriction(17, SecuritySuite.builder()
                .setAuthenticationMechanism(AuthenticationMechanism.LOW)
                .setPassword("12345678".getBytes(java.nio.charset.StandardCharsets.US_ASCII)).build());
        EncryptionMechanism aes = EncryptionMechanism.AES_GCM_128;
        device.addRestriction(18, hls(SecurityPolicy.AUTHENTICATED_AND_ENCRYPTED, aes, GUEK, GAK));
        device.addRestriction(19, hls(SecurityPolicy.AUTHENTICATED, aes, GUEK, GAK));
        device.addRestriction(20, hls(
                SecurityPolicy.AUTHENTICATED_AND_ENCRYPTED, EncryptionMechanism.AES_GCM_256, LONG_GUEK, LONG_GAK));
        device.setMasterKey(GUEK);
        device.registerCosemObject(
                new Data(0x0100, "0.0.96.1.0.255", DataObject.newOctetStringData("40799390".getBytes())),
                new Register(0x0200, "1.0.1.8.0.255", 123456L),
                new Data(0x0300, "0.0.94.91.0.255", DataObject.newUInteger32Data(1000L)),
                new Data(0x0400, "0.0.94.91.1.255", DataObject.newOctetStringData(new byte[0])),
                new Profile(),
                new Echo(),
                new Relay());
        return device;
    }

    public static void main(String[] none) throws Exception {
        Told.by((verb, words) -> {
            LogicalDevice device = device();
            DlmsServer.tcpServerBuilder(Integer.parseInt(words.get(0)))
                    .registerLogicalDevice(device)
                    .build();
            DlmsServer.tcpServerBuilder(Integer.parseInt(words.get(1)))
                    .setSessionLayerFactory(ServerSessionLayerFactories.newHdlcSessionLayerFactory())
                    .registerLogicalDevice(device())
                    .build();
            DlmsServer.tcpServerBuilder(Integer.parseInt(words.get(2)))
                    .setReferencingMethod(ReferencingMethod.SHORT)
                    .registerLogicalDevice(device())
                    .build();
            return java.util.HexFormat.of().formatHex(device.getSystemTitle());
        });
    }
}
