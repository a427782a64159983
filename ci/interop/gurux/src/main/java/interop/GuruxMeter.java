package interop;

import gurux.dlms.GXDLMSConnectionEventArgs;
import gurux.dlms.GXServerReply;
import gurux.dlms.GXSimpleEntry;
import gurux.dlms.ValueEventArgs;
import gurux.dlms.enums.AccessMode;
import gurux.dlms.enums.Authentication;
import gurux.dlms.enums.Conformance;
import gurux.dlms.enums.DataType;
import gurux.dlms.enums.MethodAccessMode;
import gurux.dlms.enums.ObjectType;
import gurux.dlms.enums.SourceDiagnostic;
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
import gurux.dlms.secure.GXDLMSSecureNotify;
import gurux.dlms.secure.GXDLMSSecureServer2;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.List;
import java.util.Map.Entry;

/**
 * Meters behind the wrapper or HDLC, over TCP: a register, a limit and a note that can be written, a relay, a text that
 * needs blocks, an image transfer, and the tables by which meters act. It does what it is told ({@link Told}).
 *
 * <p>{@code serve} makes a meter, for one connection, and tells its port: authentication=, client= (its system title), and
 * as in {@link Given}; sn, hdlc, and pdu= and window= (of general block transfer) where they are given. {@code push} and
 * {@code event} send a note in between; {@code state} waits for the end, and tells what the meter holds then.
 */
public final class GuruxMeter extends GXDLMSSecureServer2 {
    static final byte[] PASSWORD = "12345678".getBytes();
    static final byte[] LETTERS = new byte[3000];

    static {
        for (int at = 0; at < LETTERS.length; at++) {
            LETTERS[at] = (byte) (at % 251);
        }
    }

    private final Authentication expected;
    private final GXDLMSData limit = new GXDLMSData("0.0.94.91.0.255");
    private final GXDLMSData note = new GXDLMSData("0.0.94.91.1.255");
    private final GXDLMSDisconnectControl relay = new GXDLMSDisconnectControl("0.0.96.3.10.255");
    private final GXDLMSImageTransfer image = new GXDLMSImageTransfer("0.0.44.0.0.255");
    private final ByteArrayOutputStream firmware = new ByteArrayOutputStream();
    private final ServerSocket door = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
    private final Thread serving = new Thread(this::serve);
    private volatile Socket client;

    private GuruxMeter(GXDLMSAssociationLogicalName association, Given given) throws Exception {
        super(association, given.link());
        expected = Authentication.valueOf(given.text("authentication"));
        equip(given);
    }

    private GuruxMeter(GXDLMSAssociationShortName association, Given given) throws Exception {
        super(association, given.link());
        expected = Authentication.valueOf(given.text("authentication"));
        equip(given);
    }

    public static void main(String[] none) throws Exception {
        GuruxMeter[] here = {null};
        Told.by((verb, words) -> {
            if (verb.equals("serve")) {
                here[0] = made(new Given(words));
                here[0].serving.start();
                return here[0].door.getLocalPort();
            }
            return switch (verb) {
                case "push", "event" -> here[0].tell(verb);
                case "state" -> here[0].state();
                default -> throw new IllegalArgumentException(verb);
            };
        });
    }

    private static GuruxMeter made(Given given) throws Exception {
        if (given.has("sn")) {
            var association = new GXDLMSAssociationShortName();
            association.setSecret(PASSWORD);
            return new GuruxMeter(association, given);
        }
        var association = new GXDLMSAssociationLogicalName();
        association.setClientSAP(1);
        association.setSecret(PASSWORD);
        association.getAuthenticationMechanismName().setMechanismId(Authentication.valueOf(given.text("authentication")));
        return new GuruxMeter(association, given);
    }

    private void equip(Given given) throws Exception {
        given.cipher(getCiphering());
        setClientSystemTitle(given.bytes("client"));
        if (expected == Authentication.HIGH_ECDSA) {
            byte[] challenge = new byte[32];
            new SecureRandom().nextBytes(challenge);
            setStoCChallenge(challenge);
        }
        setMaxReceivePDUSize(given.number("pdu", 512));
        if (given.has("window")) {
            getConformance().add(Conformance.GENERAL_BLOCK_TRANSFER);
            setWindowSize(given.number("window", 1));
        }
        GXDLMSRegister register = new GXDLMSRegister("1.0.1.8.0.255");
        register.setValue(123456789L);
        register.setDataType(2, DataType.UINT32);
        limit.setValue(1000L);
        limit.setDataType(2, DataType.UINT32);
        note.setValue(new byte[0]);
        note.setDataType(2, DataType.OCTET_STRING);
        GXDLMSData text = new GXDLMSData("0.0.96.1.1.255");
        text.setValue(LETTERS);
        text.setDataType(2, DataType.OCTET_STRING);
        relay.setOutputState(true);
        image.setImageBlockSize(200);
        image.setImageTransferEnabled(true);
        for (GXDLMSObject each : new GXDLMSObject[] {
            register,
            limit,
            note,
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

    private void serve() {
        try (door;
                Socket accepted = door.accept()) {
            client = accepted;
            DataInputStream input = new DataInputStream(accepted.getInputStream());
            while (true) {
                GXServerReply reply = new GXServerReply(Given.frame(getInterfaceType(), input));
                do {
                    handleRequest(reply);
                    if (reply.getReply() != null) {
                        accepted.getOutputStream().write(reply.getReply());
                    }
                    reply.setData(null);
                } while (reply.isStreaming());
            }
        } catch (EOFException gone) {
            return;
        } catch (Exception wrong) {
            wrong.printStackTrace();
        }
    }

    private Object state() throws Exception {
        serving.join(5_000);
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(firmware.toByteArray());
        return "LIMIT " + Given.text(limit.getValue()) + " NOTE " + Given.text(note.getValue()) + " RELAY "
                + relay.getOutputState() + " IMAGE " + image.getImageTransferStatus() + " " + Given.text(digest);
    }

    /** The note, in a data-notification or an event-notification, to the client that is there. */
    private Object tell(String how) throws Exception {
        var notifier = new GXDLMSSecureNotify(getUseLogicalNameReferencing(), 1, 1, getInterfaceType());
        var ours = notifier.getCiphering();
        ours.setSecurity(getCiphering().getSecurity());
        ours.setSecuritySuite(getCiphering().getSecuritySuite());
        ours.setSystemTitle(getCiphering().getSystemTitle());
        ours.setBlockCipherKey(getCiphering().getBlockCipherKey());
        ours.setAuthenticationKey(getCiphering().getAuthenticationKey());
        ours.setInvocationCounter(getCiphering().getInvocationCounter());
        List<Entry<GXDLMSObject, Integer>> told = List.of(new GXSimpleEntry<>(note, 2));
        byte[][] frames = how.equals("event")
                ? notifier.generateReport(null, told)
                : notifier.generateDataNotificationMessages(null, told);
        getCiphering().setInvocationCounter(ours.getInvocationCounter());
        for (byte[] frame : frames) {
            client.getOutputStream().write(frame);
        }
        return frames.length;
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
                if (call.getParameters() instanceof byte[] octets) {
                    call.setValue(call.getIndex() == 2 ? LETTERS : octets); // returned: a long answer, or this one
                }
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
