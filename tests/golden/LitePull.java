// The lite pull consumer, which clients have from 4.6 on.   java … LitePull <topic suffix>
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;

public class LitePull {
    public static void main(String[] args) throws Exception {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer("CL_" + args[0]);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe("Golden" + args[0], "*");
        consumer.start();
        int seen = 0;
        for (int i = 0; i < 5; i++) seen += consumer.poll(2000).size();
        System.out.println("polled " + seen);
        consumer.commitSync();
        consumer.shutdown();
        System.exit(0);
    }
}
