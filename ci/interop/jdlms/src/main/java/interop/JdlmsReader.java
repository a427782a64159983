// SPDX-License-Identifier: GPL-3.0-or-later
// jDLMS as a client over TCP, HDLC or the wrapper: reads attributes of a meter of ours, prints each value in a line.
//
// Usage: JdlmsReader PORT PHYSICAL|wrapper COUNTER [GUEK GAK] ATTRIBUTE...    an ATTRIBUTE is CLASS,OBIS,NUMBER, OBIS in dots.
// Client 16 without security, or client 1 with HLS 5 GMAC, authenticated and encrypted, where the keys are given.
package interop;

import java.net.InetAddress;
import org.openmuc.jdlms.AttributeAddress;
import org.openmuc.jdlms.AuthenticationMechanism;
import org.openmuc.jdlms.DlmsConnection;
import org.openmuc.jdlms.GetResult;
import org.openmuc.jdlms.SecuritySuite;
import org.openmuc.jdlms.SecuritySuite.EncryptionMechanism;
import org.openmuc.jdlms.TcpConnectionBuilder;

public final class JdlmsReader {

    public static void main(String[] args) throws Exception {
        boolean secured = !args[3].contains(",");
        TcpConnectionBuilder builder = new TcpConnectionBuilder(InetAddress.getLoopbackAddress())
                .setPort(Integer.parseInt(args[0]))
                .setLogicalDeviceId(1)
                .setClientId(secured ? 1 : 16)
                .setResponseTimeout(10_000);
        if (args[1].equals("wrapper")) {
            builder.useWrapper();
        } else {
            builder.useHdlc().setPhysicalDeviceAddress(Integer.parseInt(args[1]));
        }
        if (secured) {
            builder.setSystemTitle("GRX", 1L)
                    .setFrameCounter(Long.parseLong(args[2]))
                    .setSecuritySuite(SecuritySuite.builder()
                            .setAuthenticationMechanism(AuthenticationMechanism.HLS5_GMAC)
                            .setEncryptionMechanism(EncryptionMechanism.AES_GCM_128)
                            .setGlobalUnicastEncryptionKey(JdlmsMeter.hex(args[3]))
                            .setAuthenticationKey(JdlmsMeter.hex(args[4]))
                            .build());
        }
        try (DlmsConnection connection = builder.build()) {
            for (int at = secured ? 5 : 3; at < args.length; at++) {
                String[] parts = args[at].split(",");
                GetResult result = connection.get(
                        new AttributeAddress(Integer.parseInt(parts[0]), parts[1], Integer.parseInt(parts[2])));
                Object value = result.getResultCode().getCode() == 0 ? result.getResultData().getRawValue() : null;
                System.out.println(value instanceof byte[] raw
                        ? java.util.HexFormat.of().formatHex(raw)
                        : value == null ? result.getResultCode() : value);
            }
        }
        System.exit(0);
    }
}
