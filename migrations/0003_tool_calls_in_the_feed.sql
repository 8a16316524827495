-- minWriter: 1
-- minReader: 1
--
-- Deleting a tool call takes it out of what the feed tells of its turn's past too. This finds it there, however many
-- calls the turn has. The id stands in an array, as JSON has it: alone it would end at a NUL.
CREATE INDEX feed_by_tool_call ON feed (
    turn_pk, CASE WHEN json_valid(data) THEN json_extract(data, '$.changes.tool_calls[0].id', '$.none') END
) WHERE kind = 'updated';
