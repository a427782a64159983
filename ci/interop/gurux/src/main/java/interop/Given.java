package interop;

import gurux.dlms.enums.DataType;
import gurux.dlms.enums.InterfaceType;
import gurux.dlms.enums.Security;
import gurux.dlms.enums.Signing;
import gurux.dlms.internal.GXCommon;
import gurux.dlms.objects.enums.SecuritySuite;
import gurux.dlms.secure.GXCiphering;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What both sides are given, as words "name=value", and how frames and values are read and written. */
final class Given {
    private final Map<String, String> words = new HashMap<>();

    Given(List<String> given) {
        for (String each : given) {
            String[] parts = each.split("=", 2);
            words.put(parts[0], parts[1]);
        }
    }

    boolean has(String name) {
        return words.containsKey(name);
    }

    String text(String name) {
        return words.get(name);
    }

    int number(String name, int otherwise) {
        return has(name) ? Integer.parseInt(text(name)) : otherwise;
    }

    byte[] bytes(String name) {
        return GXCommon.hexToBytes(text(name));
    }

    InterfaceType link() {
        return has("hdlc") ? InterfaceType.HDLC : InterfaceType.WRAPPER;
    }

    /** security=, suite=, title=, guek=, gak=; where there are any: dedicated=, signing= and agreement=, scheme=. */
    void cipher(GXCiphering ciphering) throws GeneralSecurityException {
        ciphering.setSecurity(has("ciphered") ? Security.AUTHENTICATION_ENCRYPTION : Security.NONE);
        ciphering.setSecuritySuite(SecuritySuite.values()[number("suite", 0)]);
        ciphering.setSystemTitle(bytes("title"));
        ciphering.setBlockCipherKey(bytes("guek"));
        ciphering.setAuthenticationKey(bytes("gak"));
        if (has("dedicated")) {
            ciphering.setDedicatedKey(bytes("dedicated"));
        }
        if (has("signing")) {
            ciphering.setSigningKeyPair(pair("signing"));
        }
        if (has("agreement")) {
            ciphering.setKeyAgreementKeyPair(pair("agreement"));
        }
        if (has("scheme")) {
            ciphering.setSigning(Signing.valueOf(text("scheme")));
        }
    }

    /** Our private key (PKCS #8) and the other side's public one (X.509), as the library wants them. */
    private KeyPair pair(String name) throws GeneralSecurityException {
        String[] halves = text(name).split(",");
        KeyFactory curves = KeyFactory.getInstance("EC");
        return new KeyPair(
                curves.generatePublic(new X509EncodedKeySpec(GXCommon.hexToBytes(halves[1]))),
                curves.generatePrivate(new PKCS8EncodedKeySpec(GXCommon.hexToBytes(halves[0]))));
    }

    /** One whole frame. */
    static byte[] frame(InterfaceType link, DataInputStream input) throws IOException {
        if (link == InterfaceType.WRAPPER) {
            byte[] head = input.readNBytes(8);
            if (head.length < 8) {
                throw new EOFException();
            }
            return rest(input, head, (head[6] & 0xFF) << 8 | head[7] & 0xFF);
        }
        byte first = input.readByte();
        while (first == 0x7E) {
            first = input.readByte();
        }
        byte second = input.readByte();
        return rest(input, new byte[] {0x7E, first, second}, ((first & 7) << 8 | second & 0xFF) - 1);
    }

    private static byte[] rest(DataInputStream input, byte[] head, int size) throws IOException {
        byte[] whole = Arrays.copyOf(head, head.length + size);
        input.readFully(whole, head.length, size);
        return whole;
    }

    /** A value written as "u32:2500", "i8:-1", "octets:00ff", "none". */
    record Typed(DataType type, Object value) {
        static Typed of(String text) {
            String[] parts = text.split(":", 2);
            return switch (parts[0]) {
                case "u32" -> new Typed(DataType.UINT32, Long.valueOf(parts[1]));
                case "i8" -> new Typed(DataType.INT8, Byte.valueOf(parts[1]));
                case "octets" -> new Typed(DataType.OCTET_STRING, GXCommon.hexToBytes(parts[1]));
                case "none" -> new Typed(DataType.NONE, null);
                default -> throw new IllegalArgumentException(text);
            };
        }
    }

    /** As a value came, without spaces: numbers in decimal, octets in hexadecimal, what is in it in brackets. */
    static String text(Object value) {
        if (value instanceof byte[] octets) {
            return GXCommon.toHex(octets, false).toLowerCase();
        }
        if (value instanceof Object[] array) {
            value = Arrays.asList(array);
        }
        if (value instanceof List<?> list) {
            return "[" + String.join(",", list.stream().map(Given::text).toList()) + "]";
        }
        return value == null ? "none" : value.toString().replace(' ', '_');
    }
}
