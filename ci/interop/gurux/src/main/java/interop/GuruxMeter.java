package interop;

import gurux.dlms.GXDLMSConnectionEventArgs;
import gurux.dlms.GXServerReply;
import gurux.dlms.ValueEventArgs;
import gurux.dlms.enums.AccessMode;
import gurux.dlms.enums.Authentication;
import gurux.dlms.enums.DataType;
import gurux.dlms.enums.InterfaceType;
import gurux.dlms.enums.MethodAccessMode;
import gurux.dlms.enums.ObjectType;
import gurux.dlms.enums.Security;
import gurux.dlms.enums.SourceDiagnostic;
import gurux.dlms.internal.GXCommon;
import gurux.dlms.objects.GXDLMSActionSchedule;
import gurux.dlms.objects.GXDLMSActivityCalendar;
import gurux.dlms.objects.GXDLMSAssociationLogicalName;
import gurux.dlms.objects.GXDLMSAssociationShortName;
import gurux.dlms.objects.GXDLMSData;
import gurux.dlms.objects.GXDLMSDisconnectControl;
import gurux.dlms.objects.GXDLMSImageActivateInfo;
import gurux.dlms.objects.GXDLMSImageTransfer;
import gurux.dlms.objects.GXDLMSLimiter;
import gurux.dlms.objects.GXDLMSObject;
import gurux.dlms.objects.GXDLMSRegister;
import gurux.dlms.objects.GXDLMSScriptTable;
import gurux.dlms.objects.GXDLMSSpecialDaysTable;
import gurux.dlms.objects.enums.ImageTransferStatus;
import gurux.dlms.objects.enums.SecuritySuite;
import gurux.dlms.secure.GXDLMSSecureServer2;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.Arrays;
import java.util.List;

/**
 * A meter behind the wrapper: a register, a limit that can be written, a relay, a text that needs blocks, an image
 * transfer, and the tables by which meters act.
 *
 * <p>Arguments: authentication, ln|sn, ciphered|plain, suite, its title, the client's, GUEK, GAK, and with ECDSA its
 * private signing key (PKCS #8) and the client's public one (X.509); all keys hexadecimal. Serves one connection, then
 * says what the limit and the relay are, and the digest of the blocks of an image that came, in the order in which they
 * came.
 */
public final class GuruxMeter extends GXDLMSSecureServer2 {
    static final byte[] PASSWORD = "12345678".getBytes();
    private final Authentication expected;
    private final GXDLMSData limit = new GXDLMSData("0.0.94.91.0.255");
    private final GXDLMSDisconnectControl relay = new GXDLMSDisconnectControl("0.0.96.3.10.255");
    private final GXDLMSImageTransfer image = new GXDLMSImageTransfer("0.0.44.0.0.255");
    private final ByteArrayOutputStream firmware = new ByteArrayOutputStream();

    private GuruxMeter(GXDLMSAssociationLogicalName association, Authentication expected) {
        super(association, InterfaceType.WRAPPER);
        this.expected = expected;
    }

    private GuruxMeter(GXDLMSAssociationShortName association, Authentication expected) {
        super(association, InterfaceType.WRAPPER);
        this.expected = expected;
    }

    public static void main(String[] given) throws Exception {
        Authentication authentication = Authentication.valueOf(given[0]);
        GuruxMeter meter;
        if (given[1].equals("ln")) {
            var association = new GXDLMSAssociationLogicalName();
            association.setClientSAP(1);
            association.setSecret(PASSWORD);
            association.getAuthenticationMechanismName().setMechanismId(authentication);
            meter = new GuruxMeter(association, authentication);
        } else {
            var association = new GXDLMSAssociationShortName();
            association.setSecret(PASSWORD);
            meter = new GuruxMeter(association, authentication);
        }
        meter.equip(given);
        try (ServerSocket door = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            System.out.println("PORT " + door.getLocalPort());
            System.out.flush();
            try (Socket client = door.accept()) {
                meter.serve(client);
            }
        }
        System.out.println("LIMIT " + meter.limit.getValue() + " RELAY " + meter.relay.getOutputState());
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(meter.firmware.toByteArray());
        System.out.println("IMAGE " + meter.image.getImageTransferStatus() + " " + GXCommon.toHex(digest, false));
    }

    private void equip(String[] given) throws Exception {
        var ciphering = getCiphering();
        ciphering.setSecurity(given[2].equals("ciphered") ? Security.AUTHENTICATION_ENCRYPTION : Security.NONE);
        ciphering.setSecuritySuite(SecuritySuite.values()[Integer.parseInt(given[3])]);
        ciphering.setSystemTitle(GXCommon.hexToBytes(given[4]));
        setClientSystemTitle(GXCommon.hexToBytes(given[5]));
        ciphering.setBlockCipherKey(GXCommon.hexToBytes(given[6]));
        ciphering.setAuthenticationKey(GXCommon.hexToBytes(given[7]));
        if (given.length > 8) {
            KeyFactory curves = KeyFactory.getInstance("EC");
            ciphering.setSigningKeyPair(new KeyPair(
                    curves.generatePublic(new X509EncodedKeySpec(GXCommon.hexToBytes(given[9]))),
                    curves.generatePrivate(new PKCS8EncodedKeySpec(GXCommon.hexToBytes(given[8])))));
            byte[] challenge = new byte[32];
            new SecureRandom().nextBytes(challenge);
            setStoCChallenge(challenge);
        }
        setMaxReceivePDUSize(512);
        GXDLMSRegister register = new GXDLMSRegister("1.0.1.8.0.255");
        register.setValue(123456789L);
        register.setDataType(2, DataType.UINT32);
        limit.setValue(1000L);
        limit.setDataType(2, DataType.UINT32);
        GXDLMSData text = new GXDLMSData("0.0.96.1.1.255");
        byte[] letters = new byte[3000];
        for (int at = 0; at < letters.length; at++) {
            letters[at] = (byte) (at % 251);
        }
        text.setValue(letters);
        text.setDataType(2, DataType.OCTET_STRING);
        relay.setOutputState(true);
        image.setImageBlockSize(200);
        image.setImageTransferEnabled(true);
        for (GXDLMSObject each : new GXDLMSObject[] {
            register,
            limit,
            text,
            relay,
            image,
            new GXDLMSActivityCalendar("0.0.13.0.0.255"),
            new GXDLMSActionSchedule("0.0.15.0.2.255"),
            new GXDLMSLimiter("0.0.17.0.0.255"),
            new GXDLMSScriptTable("0.0.10.0.107.255"),
            new GXDLMSSpecialDaysTable("0.0.11.0.0.255"),
        }) {
            getItems().add(each);
        }
        initialize();
    }

    private void serve(Socket socket) throws Exception {
        DataInputStream input = new DataInputStream(socket.getInputStream());
        while (true) {
            byte[] head = input.readNBytes(8);
            if (head.length < 8) {
                return;
            }
            int size = (head[6] & 0xFF) << 8 | head[7] & 0xFF;
            byte[] whole = Arrays.copyOf(head, 8 + size);
            input.readFully(whole, 8, size);
            GXServerReply reply = new GXServerReply(whole);
            handleRequest(reply);
            if (reply.getReply() != null) {
                socket.getOutputStream().write(reply.getReply());
            }
        }
    }

    @Override
    protected boolean isTarget(int server, int client) {
        return true;
    }

    @Override
    protected SourceDiagnostic onValidateAuthentication(Authentication authentication, byte[] password) {
        if (authentication != expected) {
            return SourceDiagnostic.AUTHENTICATION_FAILURE;
        }
        if (authentication == Authentication.LOW && !Arrays.equals(password, PASSWORD)) {
            return SourceDiagnostic.AUTHENTICATION_FAILURE;
        }
        return SourceDiagnostic.NONE;
    }

    @Override
    protected GXDLMSObject onFindObject(ObjectType type, int shortName, String name) {
        return null;
    }

    @Override
    protected AccessMode onGetAttributeAccess(ValueEventArgs asked) {
        return AccessMode.READ_WRITE;
    }

    @Override
    protected MethodAccessMode onGetMethodAccess(ValueEventArgs asked) {
        return MethodAccessMode.ACCESS;
    }

    @Override
    protected void onPreAction(ValueEventArgs[] calls) {
        for (ValueEventArgs call : calls) {
            if (call.getTarget() == relay) {
                relay.setOutputState(call.getIndex() == 2);
                call.setHandled(true);
            } else if (call.getTarget() == image && call.getIndex() < 3) {
                took(call.getIndex(), (List<?>) call.getParameters());
            }
        }
    }

    /** What the library leaves to its program: the blocks, and what it would activate. */
    private void took(int method, List<?> given) {
        if (method == 2) {
            firmware.writeBytes((byte[]) given.get(1));
            return;
        }
        GXDLMSImageActivateInfo info = new GXDLMSImageActivateInfo();
        info.setIdentification((byte[]) given.get(0));
        info.setSize(((Number) given.get(1)).longValue());
        info.setSignature(new byte[0]);
        image.setImageActivateInfo(new GXDLMSImageActivateInfo[] {info});
    }

    @Override
    public void onPreGet(ValueEventArgs[] asked) {}

    @Override
    public void onPostGet(ValueEventArgs[] asked) {}

    @Override
    public void onPreRead(ValueEventArgs[] asked) {}

    @Override
    public void onPostRead(ValueEventArgs[] asked) {}

    @Override
    protected void onPreWrite(ValueEventArgs[] asked) {}

    @Override
    protected void onPostWrite(ValueEventArgs[] asked) {}

    @Override
    protected void onPostAction(ValueEventArgs[] calls) {
        for (ValueEventArgs call : calls) {
            if (call.getTarget() == image && call.getIndex() > 2) {
                image.setImageTransferStatus(
                        call.getIndex() == 3
                                ? ImageTransferStatus.IMAGE_VERIFICATION_SUCCESSFUL
                                : ImageTransferStatus.IMAGE_ACTIVATION_SUCCESSFUL);
            }
        }
    }

    @Override
    protected void onConnected(GXDLMSConnectionEventArgs who) {}

    @Override
    protected void onInvalidConnection(GXDLMSConnectionEventArgs who) {}

    @Override
    protected void onDisconnected(GXDLMSConnectionEventArgs who) {}
}
