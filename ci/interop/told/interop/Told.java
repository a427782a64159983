package interop;

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.List;
import java.util.regex.Pattern;

/**
 * A program that does what it is told: a verb and its words in one line of standard input, "ok ..." or "no ..." in one
 * line of standard output. It ends with its input.
 *
 * <p>What a library prints goes elsewhere: {@code printed} tells it.
 */
final class Told {
    interface Doing {
        Object done(String verb, List<String> words) throws Exception;
    }

    private static final Pattern BREAKS = Pattern.compile("\\s*\\R\\s*");

    private Told() {}

    static void by(Doing doing) throws Exception {
        PrintStream out = System.out;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        System.setOut(new PrintStream(printed, true));
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null; ) {
            List<String> words = List.of(line.strip().split(" "));
            String verb = words.get(0);
            String answer;
            try {
                Object told = verb.equals("printed") ? printed : doing.done(verb, words.subList(1, words.size()));
                answer = "ok " + told;
            } catch (Exception | LinkageError | AssertionError wrong) {
                wrong.printStackTrace();
                answer = "no " + wrong;
            }
            out.println(BREAKS.matcher(answer).replaceAll(" | "));
            out.flush();
        }
        System.exit(0);
    }
}
