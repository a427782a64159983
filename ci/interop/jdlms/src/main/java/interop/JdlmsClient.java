// SPDX-License-Identifier: GPL-3.0-or-later
package interop;

import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.openmuc.jdlms.AttributeAddress;
import org.openmuc.jdlms.AuthenticationMechanism;
import org.openmuc.jdlms.DlmsConnection;
import org.openmuc.jdlms.GetResult;
import org.openmuc.jdlms.MethodParameter;
import org.openmuc.jdlms.MethodResult;
import org.openmuc.jdlms.SecuritySuite;
import org.openmuc.jdlms.SecuritySuite.EncryptionMechanism;
import org.openmuc.jdlms.SetParameter;
import org.openmuc.jdlms.TcpConnectionBuilder;
import org.openmuc.jdlms.datatypes.DataObject;
import org.openmuc.jdlms.settings.client.ReferencingMethod;

/**
 * jDLMS as a client over TCP, HDLC or the wrapper, that does what it is told ({@link Told}).
 *
 * <p>{@code open} associates: port=, client=, title= (MAKER:NUMBER), counter=; password= for LLS; guek= and gak= for HLS
 * 5 GMAC with all services authenticated and encrypted; hdlc= (its physical address), else it goes by the wrapper; sn=
 * for short names. Then: get REF..., set REF VALUE..., act REF VALUE..., close; offers tells what the library has. A REF is
 * CLASS,OBIS,NUMBER, OBIS in dots; of several, it makes a list.
 */
public final class JdlmsClient {
    private static final HexFormat HEX = HexFormat.of();

    private JdlmsClient() {}

    public static void main(String[] none) throws Exception {
        DlmsConnection[] here = {null};
        Told.by((verb, words) -> switch (verb) {
            case "open" -> {
                here[0] = opened(words);
                yield "associated";
            }
            case "get" -> here[0].get(words.stream().map(JdlmsClient::attribute).toList()).stream()
                    .map(JdlmsClient::got)
                    .collect(Collectors.joining(" "));
            case "set" -> here[0].set(written(words));
            case "act" -> here[0].action(called(words)).stream()
                    .map(JdlmsClient::returned)
                    .collect(Collectors.joining(" "));
            case "close" -> {
                here[0].close();
                yield "closed";
            }
            case "offers" -> Arrays.stream(DlmsConnection.class.getMethods())
                    .map(each -> each.getName() + each.getParameterCount())
                    .sorted()
                    .distinct()
                    .collect(Collectors.joining(" "))
                    + " " + List.of(AuthenticationMechanism.values()) + List.of(EncryptionMechanism.values());
            default -> throw new IllegalArgumentException(verb);
        });
    }

    private static DlmsConnection opened(List<String> words) throws Exception {
        Map<String, String> given = words.stream()
                .map(each -> each.split("=", 2))
                .collect(Collectors.toMap(parts -> parts[0], parts -> parts[1]));
        TcpConnectionBuilder builder = new TcpConnectionBuilder(InetAddress.getLoopbackAddress())
                .setPort(Integer.parseInt(given.get("port")))
                .setLogicalDeviceId(1)
                .setClientId(Integer.parseInt(given.get("client")))
                .setResponseTimeout(5_000)
                .setReferencingMethod(given.containsKey("sn") ? ReferencingMethod.SHORT : ReferencingMethod.LOGICAL);
        if (given.containsKey("hdlc")) {
            builder.useHdlc().setPhysicalDeviceAddress(Integer.parseInt(given.get("hdlc")));
        } else {
            builder.useWrapper();
        }
        if (given.containsKey("password")) {
            builder.setSecuritySuite(SecuritySuite.builder()
                    .setAuthenticationMechanism(AuthenticationMechanism.LOW)
                    .setPassword(given.get("password").getBytes(StandardCharsets.US_ASCII))
                    .build());
        }
        if (given.containsKey("guek")) {
            String[] title = given.get("title").split(":");
            byte[] guek = HEX.parseHex(given.get("guek"));
            builder.setSystemTitle(title[0], Long.parseLong(title[1]))
                    .setFrameCounter(Long.parseLong(given.get("counter")))
                    .setSecuritySuite(SecuritySuite.builder()
                            .setAuthenticationMechanism(AuthenticationMechanism.HLS5_GMAC)
                            .setEncryptionMechanism(
                                    guek.length == 16 ? EncryptionMechanism.AES_GCM_128 : EncryptionMechanism.AES_GCM_256)
                            .setGlobalUnicastEncryptionKey(guek)
                            .setAuthenticationKey(HEX.parseHex(given.get("gak")))
                            .build());
        }
        return builder.build();
    }

    private static AttributeAddress attribute(String reference) {
        String[] parts = reference.split(",");
        return new AttributeAddress(Integer.parseInt(parts[0]), parts[1], Integer.parseInt(parts[2]));
    }

    private static List<SetParameter> written(List<String> words) {
        List<SetParameter> list = new ArrayList<>();
        for (int at = 0; at < words.size(); at += 2) {
            list.add(new SetParameter(attribute(words.get(at)), value(words.get(at + 1))));
        }
        return list;
    }

    private static List<MethodParameter> called(List<String> words) {
        List<MethodParameter> list = new ArrayList<>();
        for (int at = 0; at < words.size(); at += 2) {
            String[] parts = words.get(at).split(",");
            list.add(new MethodParameter(
                    Integer.parseInt(parts[0]), parts[1], Integer.parseInt(parts[2]), value(words.get(at + 1))));
        }
        return list;
    }

    private static DataObject value(String text) {
        String[] parts = text.split(":", 2);
        return switch (parts[0]) {
            case "u32" -> DataObject.newUInteger32Data(Long.parseLong(parts[1]));
            case "i8" -> DataObject.newInteger8Data(Byte.parseByte(parts[1]));
            case "octets" -> DataObject.newOctetStringData(HEX.parseHex(parts[1]));
            default -> throw new IllegalArgumentException(text);
        };
    }

    private static String got(GetResult result) {
        return result.getResultCode().getCode() == 0
                ? text(result.getResultData())
                : result.getResultCode().toString();
    }

    private static String returned(MethodResult result) {
        return result.getResultCode() + (result.getResultData() == null ? "" : "=" + text(result.getResultData()));
    }

    /** Numbers in decimal, octets in hexadecimal, what is in it in brackets. */
    private static String text(DataObject value) {
        Object raw = value.getRawValue();
        if (raw instanceof byte[] octets) {
            return HEX.formatHex(octets);
        }
        if (raw instanceof List<?> list) {
            return list.stream().map(each -> text((DataObject) each)).collect(Collectors.joining(",", "[", "]"));
        }
        return String.valueOf(raw);
    }
}
