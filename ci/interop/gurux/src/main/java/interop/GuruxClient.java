package interop;

import gurux.dlms.GXByteBuffer;
import gurux.dlms.GXReplyData;
import gurux.dlms.enums.Authentication;
import gurux.dlms.enums.DataType;
import gurux.dlms.enums.InterfaceType;
import gurux.dlms.enums.ObjectType;
import gurux.dlms.enums.Security;
import gurux.dlms.internal.GXCommon;
import gurux.dlms.objects.GXDLMSData;
import gurux.dlms.objects.GXDLMSObject;
import gurux.dlms.objects.GXDLMSObjectCollection;
import gurux.dlms.objects.GXDLMSProfileGeneric;
import gurux.dlms.objects.GXDLMSRegister;
import gurux.dlms.objects.enums.SecuritySuite;
import gurux.dlms.secure.GXDLMSSecureClient;
import java.io.DataInputStream;
import java.net.Socket;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.SecureRandom;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.Arrays;

/**
 * Reads a register and a profile and writes a limit on a meter behind the wrapper, and says what it got.
 *
 * <p>Arguments: port, authentication, ln|sn, ciphered|plain, suite, client title, GUEK, GAK, and with ECDSA our private
 * signing key (PKCS #8) and the meter's public one (X.509); all keys hexadecimal.
 */
public final class GuruxClient {
    private final GXDLMSSecureClient client;
    private final Socket socket;
    private final DataInputStream input;

    private GuruxClient(String[] given) throws Exception {
        Authentication authentication = Authentication.valueOf(given[1]);
        client = new GXDLMSSecureClient(
                given[2].equals("ln"), 1, 1, authentication, "12345678", InterfaceType.WRAPPER);
        var ciphering = client.getCiphering();
        ciphering.setSecurity(given[3].equals("ciphered") ? Security.AUTHENTICATION_ENCRYPTION : Security.NONE);
        ciphering.setSecuritySuite(SecuritySuite.values()[Integer.parseInt(given[4])]);
        ciphering.setSystemTitle(GXCommon.hexToBytes(given[5]));
        ciphering.setBlockCipherKey(GXCommon.hexToBytes(given[6]));
        ciphering.setAuthenticationKey(GXCommon.hexToBytes(given[7]));
        if (given.length > 8) {
            KeyFactory curves = KeyFactory.getInstance("EC");
            ciphering.setSigningKeyPair(new KeyPair(
                    curves.generatePublic(new X509EncodedKeySpec(GXCommon.hexToBytes(given[9]))),
                    curves.generatePrivate(new PKCS8EncodedKeySpec(GXCommon.hexToBytes(given[8])))));
            byte[] challenge = new byte[32]; // its own has 16 bytes, and HLS 7 takes 32 to 64
            new SecureRandom().nextBytes(challenge);
            client.setCtoSChallenge(challenge);
        }
        socket = new Socket("127.0.0.1", Integer.parseInt(given[0]));
        socket.setSoTimeout(10_000);
        input = new DataInputStream(socket.getInputStream());
    }

    public static void main(String[] given) throws Exception {
        GuruxClient reader = new GuruxClient(given);
        try {
            reader.run(given[2].equals("sn"));
        } finally {
            reader.socket.close();
        }
    }

    private void run(boolean shortNames) throws Exception {
        client.parseAareResponse(ask(client.aarqRequest()).getData());
        if (client.getIsAuthenticationRequired()) {
            client.parseApplicationAssociationResponse(ask(client.getApplicationAssociationRequest()).getData());
        }
        System.out.println("ASSOCIATED");
        GXDLMSRegister register = new GXDLMSRegister("1.0.1.8.0.255");
        GXDLMSData limit = new GXDLMSData("0.0.94.91.0.255");
        GXDLMSProfileGeneric profile = new GXDLMSProfileGeneric("1.0.99.1.0.255");
        if (shortNames) {
            GXDLMSObjectCollection listed =
                    client.parseObjects(ask(client.getObjectsRequest()).getData(), true);
            register = (GXDLMSRegister) named(listed, ObjectType.REGISTER, "1.0.1.8.0.255");
            limit = (GXDLMSData) named(listed, ObjectType.DATA, "0.0.94.91.0.255");
            profile = (GXDLMSProfileGeneric) named(listed, ObjectType.PROFILE_GENERIC, "1.0.99.1.0.255");
        }
        System.out.println("VALUE " + ask(client.read(register, 2)).getValue());
        Object rows = ask(client.read(profile, 2)).getValue();
        System.out.println("ROWS " + (rows instanceof Object[] all ? all.length : ((java.util.List<?>) rows).size()));
        limit.setValue(2500L);
        limit.setDataType(2, DataType.UINT32);
        ask(client.write(limit, 2));
        System.out.println("WRITTEN");
    }

    private static GXDLMSObject named(GXDLMSObjectCollection listed, ObjectType type, String name) {
        return listed.findByLN(type, name);
    }

    private GXReplyData ask(byte[][] frames) throws Exception {
        GXReplyData reply = new GXReplyData();
        for (byte[] frame : frames) {
            reply.clear();
            exchange(frame, reply);
            while (reply.isMoreData()) {
                exchange(client.receiverReady(reply), reply);
            }
        }
        return reply;
    }

    private void exchange(byte[] frame, GXReplyData reply) throws Exception {
        socket.getOutputStream().write(frame);
        byte[] head = input.readNBytes(8);
        int size = (head[6] & 0xFF) << 8 | head[7] & 0xFF;
        byte[] whole = Arrays.copyOf(head, 8 + size);
        input.readFully(whole, 8, size);
        GXByteBuffer received = new GXByteBuffer(whole);
        client.getData(received, reply, new GXReplyData());
        if (reply.getError() != 0) {
            throw new IllegalStateException("error " + reply.getError());
        }
    }
}
