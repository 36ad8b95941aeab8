package ringmq.mqadmin;

import java.io.File;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** One run of Apache's mqadmin in a process of its own, as an operator starts it. */
record Command(List<String> output, List<String> errors, int exit) {
    /** {@code java} with the class path and options of this process, up to the name of the main class. */
    static Command run(String namesrv, String... arguments) throws Exception {
        List<String> line = new ArrayList<>();
        line.add(System.getProperty("java.home") + "/bin/java");
        line.addAll(List.of(System.getProperty("mqadmin.options").split(" ")));
        line.add("-Drocketmq.home.dir=" + System.getProperty("user.home"));
        line.add("-Duser.home=" + System.getProperty("user.home"));
        line.add("-cp");
        line.add(System.getProperty("mqadmin.classpath"));
        line.add("org.apache.rocketmq.tools.command.MQAdminStartup");
        line.addAll(List.of(arguments));
        line.add("-n");
        line.add(namesrv);
        File out = File.createTempFile("mqadmin", ".out");
        File err = File.createTempFile("mqadmin", ".err");
        try {
            Process process = new ProcessBuilder(line).redirectOutput(out).redirectError(err).start();
            if (!process.waitFor(60, TimeUnit.SECONDS)) {
                process.destroyForcibly();
                throw new AssertionError("mqadmin " + String.join(" ", arguments) + " did not end within 60 s");
            }
            return new Command(java.nio.file.Files.readAllLines(out.toPath()), java.nio.file.Files.readAllLines(err.toPath()), process.exitValue());
        } finally {
            out.delete();
            err.delete();
        }
    }

    boolean says(String text) {
        return output.stream().anyMatch(line -> line.contains(text));
    }

    /** What follows a label such as {@code Queue ID:} in the details of a message. */
    String field(String label) {
        List<String> found = output.stream().filter(line -> line.startsWith(label)).map(line -> line.substring(label.length()).trim()).toList();
        if (found.size() != 1) {
            throw new AssertionError(found.size() + " lines with " + label + " in: " + all());
        }
        return found.get(0);
    }

    String all() {
        return String.join("\n", output) + (errors.isEmpty() ? "" : "\n[errors] " + String.join("\n", errors));
    }

    /** Any stack trace is a failure: mqadmin prints them and still ends with 0. */
    Command clean() {
        for (String line : errors) {
            if (line.contains("Exception")) {
                throw new AssertionError("mqadmin printed " + line);
            }
        }
        return this;
    }
}
