package interop;

import gurux.dlms.GXByteBuffer;
import gurux.dlms.GXDLMSAccessItem;
import gurux.dlms.GXDLMSClient;
import gurux.dlms.GXReplyData;
import gurux.dlms.GXSimpleEntry;
import gurux.dlms.enums.AccessServiceCommandType;
import gurux.dlms.enums.Authentication;
import gurux.dlms.enums.Command;
import gurux.dlms.enums.Conformance;
import gurux.dlms.enums.InterfaceType;
import gurux.dlms.enums.ObjectType;
import gurux.dlms.enums.ServiceClass;
import gurux.dlms.objects.GXDLMSData;
import gurux.dlms.objects.GXDLMSObject;
import gurux.dlms.objects.GXDLMSObjectCollection;
import gurux.dlms.secure.GXDLMSSecureClient;
import java.io.DataInputStream;
import java.io.IOException;
import java.lang.reflect.Method;
import java.net.Socket;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map.Entry;
import java.util.stream.Collectors;

/**
 * A client over TCP, behind the wrapper or HDLC, that does what it is told ({@link Told}).
 *
 * <p>{@code open} associates: port=, authentication=, and as in {@link Given}; sn, hdlc, and pdu= and window= (of general
 * block transfer) where they are given. Then: get REF, gets REF..., set REF VALUE, sets REF VALUE..., act REF VALUE,
 * unconfirmed REF VALUE, access get REF set REF VALUE..., hear, release, close; offers tells
 * the library's methods. A REF is CLASS,OBIS,NUMBER, OBIS in dots.
 */
public final class GuruxClient {
    private static final byte[] NONE = {};
    private final GXDLMSSecureClient client;
    private final Socket socket;
    private final DataInputStream input;
    private final List<String> heard = new ArrayList<>();
    private GXDLMSObjectCollection listed;

    private GuruxClient(Given given) throws Exception {
        Authentication authentication = Authentication.valueOf(given.text("authentication"));
        client = new GXDLMSSecureClient(!given.has("sn"), 1, 1, authentication, "12345678", given.link());
        given.cipher(client.getCiphering());
        client.setUseProtectedRelease(given.has("ciphered"));
        if (authentication.getValue() > Authentication.LOW.getValue()) {
            // its own has 16 bytes where HLS 7 takes 32 to 64, and one in twelve looks like an APDU: it is not answered
            byte[] challenge = new byte[authentication == Authentication.HIGH_ECDSA ? 32 : 16];
            new SecureRandom().nextBytes(challenge);
            challenge[0] = 'x';
            client.setCtoSChallenge(challenge);
        }
        client.setMaxReceivePDUSize(given.number("pdu", 0xFFFF));
        if (given.has("window")) {
            client.getProposedConformance().add(Conformance.GENERAL_BLOCK_TRANSFER);
            client.setGbtWindowSize((byte) given.number("window", 1));
        }
        socket = new Socket("127.0.0.1", given.number("port", 0));
        socket.setSoTimeout(5_000);
        input = new DataInputStream(socket.getInputStream());
    }

    public static void main(String[] none) throws Exception {
        GuruxClient[] here = {null};
        Told.by((verb, words) -> switch (verb) {
            case "open" -> {
                here[0] = new GuruxClient(new Given(words));
                yield here[0].associate();
            }
            case "offers" -> Arrays.stream(GXDLMSClient.class.getMethods())
                    .map(Method::getName)
                    .sorted()
                    .distinct()
                    .collect(Collectors.joining(" "));
            default -> here[0].done(verb, words);
        });
    }

    private Object associate() throws Exception {
        if (client.getInterfaceType() == InterfaceType.HDLC) {
            client.parseUAResponse(ask(new byte[][] {client.snrmRequest()}).getData());
        }
        client.parseAareResponse(ask(client.aarqRequest()).getData());
        if (client.getIsAuthenticationRequired()) {
            client.parseApplicationAssociationResponse(ask(client.getApplicationAssociationRequest()).getData());
        }
        if (!client.getUseLogicalNameReferencing()) {
            listed = client.parseObjects(ask(client.getObjectsRequest()).getData(), true);
        }
        return "associated";
    }

    private Object done(String verb, List<String> words) throws Exception {
        return switch (verb) {
            case "get" -> Given.text(ask(client.read(object(words.get(0)), number(words.get(0)))).getValue());
            case "gets" -> gets(words);
            case "set" -> ask(written(words.get(0), words.get(1))).getError();
            case "sets" -> sets(words);
            case "act" -> act(words.get(0), Given.Typed.of(words.get(1)));
            case "unconfirmed" -> unconfirmed(words);
            case "access" -> access(words);
            case "hear" -> hear();
            case "release" -> release();
            case "close" -> closed();
            default -> throw new IllegalArgumentException(verb);
        };
    }

    private GXDLMSObject object(String reference) {
        String[] parts = reference.split(",");
        ObjectType type = ObjectType.forValue(Integer.parseInt(parts[0]));
        if (listed != null) {
            return listed.findByLN(type, parts[1]);
        }
        GXDLMSObject made = client.getObjects().findByLN(type, parts[1]);
        if (made == null) {
            made = GXDLMSClient.createObject(type);
            made.setLogicalName(parts[1]);
            client.getObjects().add(made); // what it hears is kept there, too
        }
        return made;
    }

    private static int number(String reference) {
        return Integer.parseInt(reference.split(",")[2]);
    }

    private byte[][] written(String reference, String value) throws Exception {
        Given.Typed typed = Given.Typed.of(value);
        GXDLMSObject object = object(reference);
        return client.write(object.getName(), typed.value(), typed.type(), object.getObjectType(), number(reference));
    }

    private Object gets(List<String> words) throws Exception {
        List<Entry<GXDLMSObject, Integer>> list = new ArrayList<>();
        for (String each : words) {
            list.add(new GXSimpleEntry<>(object(each), number(each)));
        }
        return Given.text(ask(client.readList(list)).getValue());
    }

    /** The library writes the values of its objects: of Data, attribute 2. */
    private Object sets(List<String> words) throws Exception {
        List<Entry<GXDLMSObject, Integer>> list = new ArrayList<>();
        for (int at = 0; at < words.size(); at += 2) {
            list.add(new GXSimpleEntry<>(valued(words.get(at), words.get(at + 1)), number(words.get(at))));
        }
        return ask(client.writeList(list)).getError();
    }

    private GXDLMSObject valued(String reference, String value) {
        GXDLMSObject object = object(reference);
        Given.Typed typed = Given.Typed.of(value);
        ((GXDLMSData) object).setValue(typed.value());
        object.setDataType(2, typed.type());
        return object;
    }

    private Object act(String reference, Given.Typed typed) throws Exception {
        GXDLMSObject object = object(reference);
        GXReplyData reply = ask(client.method(object, number(reference), typed.value(), typed.type()));
        return Given.text(reply.getValue());
    }

    private Object unconfirmed(List<String> words) throws Exception {
        client.setServiceClass(ServiceClass.UN_CONFIRMED);
        for (byte[] frame : written(words.get(0), words.get(1))) {
            socket.getOutputStream().write(frame);
        }
        client.setServiceClass(ServiceClass.CONFIRMED);
        return "sent";
    }

    private Object access(List<String> words) throws Exception {
        List<GXDLMSAccessItem> list = new ArrayList<>();
        for (int at = 0; at < words.size(); at += 2) {
            String reference = words.get(at + 1);
            switch (words.get(at)) {
                case "get" -> list.add(
                        new GXDLMSAccessItem(AccessServiceCommandType.GET, object(reference), number(reference)));
                case "set" -> list.add(new GXDLMSAccessItem(
                        AccessServiceCommandType.SET, valued(reference, words.get(++at + 1)), number(reference)));
                default -> list.add(
                        new GXDLMSAccessItem(AccessServiceCommandType.ACTION, object(reference), number(reference)));
            }
        }
        client.parseAccessResponse(list, ask(client.accessRequest(null, list)).getData());
        return Given.text(
                list.stream().map(each -> List.of(each.getError(), Given.text(each.getValue()))).toList());
    }

    /** What was told and not asked for; waits for it where nothing was yet. */
    private Object hear() throws Exception {
        while (heard.isEmpty()) {
            GXReplyData told = new GXReplyData();
            client.getData(new GXByteBuffer(frame()), new GXReplyData(), told);
            keep(told);
        }
        return heard.remove(0);
    }

    private void keep(GXReplyData told) throws Exception {
        if (told.getCommand() == Command.DATA_NOTIFICATION) {
            heard.add("data-notification " + Given.text(told.getValue()));
            return;
        }
        List<Entry<GXDLMSObject, Integer>> reported = new ArrayList<>();
        client.parseReport(told, reported);
        for (Entry<GXDLMSObject, Integer> each : reported) {
            Object value = each.getKey().getValues()[each.getValue() - 1];
            heard.add(each.getKey().getLogicalName() + " " + each.getValue() + " " + Given.text(value));
        }
    }

    private Object release() throws Exception {
        ask(client.releaseRequest());
        if (client.getInterfaceType() == InterfaceType.HDLC) {
            ask(new byte[][] {client.disconnectRequest(true)});
        }
        return "released";
    }

    private Object closed() throws IOException {
        socket.close();
        return "closed";
    }

    private GXReplyData ask(byte[][] frames) throws Exception {
        GXReplyData reply = new GXReplyData();
        for (byte[] frame : frames) {
            reply.clear();
            exchange(frame, reply);
            while (reply.isMoreData()) {
                exchange(reply.isStreaming() ? NONE : client.receiverReady(reply), reply);
            }
        }
        return reply;
    }

    private void exchange(byte[] frame, GXReplyData reply) throws Exception {
        socket.getOutputStream().write(frame);
        GXReplyData told = new GXReplyData();
        while (!client.getData(new GXByteBuffer(frame()), reply, told)) {
            if (told.getData().size() != 0 && !told.isMoreData()) {
                keep(told);
                told = new GXReplyData();
            }
        }
        if (reply.getError() != 0) {
            throw new IllegalStateException("error " + reply.getError());
        }
    }

    private byte[] frame() throws IOException {
        return Given.frame(client.getInterfaceType(), input);
    }
}
