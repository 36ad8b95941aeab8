package ringmq.mqadmin;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A table as mqadmin prints it: a line of {@code #Column Name}s, then rows. Columns are told apart by white space, so a
 * row is readable by name up to its first empty column; {@link #last} reads it from the end.
 */
final class Table {
    final List<String> columns;
    final List<List<String>> rows = new ArrayList<>();

    Table(Command command, String firstColumn) {
        List<String> lines = command.output();
        int head = -1;
        for (int i = 0; i < lines.size() && head < 0; i++) {
            if (lines.get(i).startsWith("#" + firstColumn)) {
                head = i;
            }
        }
        if (head < 0) {
            throw new AssertionError("no table with #" + firstColumn + " in: " + command.all());
        }
        columns = Arrays.stream(lines.get(head).split("#")).map(String::trim).filter(name -> !name.isEmpty()).toList();
        for (String line : lines.subList(head + 1, lines.size())) {
            if (line.isBlank()) {
                break;
            }
            rows.add(Arrays.asList(line.trim().split("\\s+")));
        }
    }

    /** Rows whose columns have these values: name, value, name, value … */
    List<List<String>> where(String... conditions) {
        return rows.stream().filter(row -> {
            for (int i = 0; i < conditions.length; i += 2) {
                if (!value(row, conditions[i]).equals(conditions[i + 1])) {
                    return false;
                }
            }
            return true;
        }).toList();
    }

    /** The only row with these values. */
    Map<String, String> one(String... conditions) {
        List<List<String>> found = where(conditions);
        if (found.size() != 1) {
            throw new AssertionError(found.size() + " rows where " + String.join(" ", conditions) + " among " + rows.size());
        }
        Map<String, String> row = new LinkedHashMap<>();
        for (String column : columns) {
            row.put(column, value(found.get(0), column));
        }
        row.put("last", found.get(0).get(found.get(0).size() - 1));
        return row;
    }

    private String value(List<String> row, String column) {
        int index = columns.indexOf(column);
        if (index < 0) {
            throw new AssertionError("no column " + column + " among " + columns);
        }
        return index < row.size() ? row.get(index) : "";
    }
}
