import com.alibaba.fastjson.JSON;
import com.alibaba.fastjson.JSONObject;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.common.filter.ExpressionType;
import org.apache.rocketmq.filter.FilterFactory;
import org.apache.rocketmq.filter.expression.EvaluationContext;
import org.apache.rocketmq.filter.expression.Expression;

/** Asks the reference's filter module. Reads the lines of cases from the input, writes the lines of answers: see README.md. */
public class FilterAnswers {
    private record Message(JSONObject properties) implements EvaluationContext {
        @Override
        public Object get(String name) {
            return properties.getString(name);
        }

        @Override
        public Map<String, Object> keyValues() {
            return properties;
        }
    }

    public static void main(String[] arguments) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        List<Message> messages = new ArrayList<>();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            if (line.startsWith("{")) {
                messages.add(new Message(JSON.parseObject(line)));
                out.println(line);
            } else if (line.startsWith("\"")) {
                out.println(answers((String) JSON.parse(line), messages) + " " + line);
            }
        }
        out.flush();
    }

    private static String answers(String text, List<Message> messages) {
        Expression expression;
        try {
            expression = FilterFactory.INSTANCE.get(ExpressionType.SQL92).compile(text);
        } catch (Throwable refused) {
            return "refused";
        }
        var answers = new StringBuilder();
        for (Message message : messages) {
            try {
                Object answer = expression.evaluate(message);
                answers.append(answer == null ? '?' : answer == Boolean.TRUE ? 'T' : 'F');
            } catch (Throwable failed) {
                answers.append('!');
            }
        }
        return answers.toString();
    }
}
