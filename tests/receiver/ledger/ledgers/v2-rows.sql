-- What version 2 may have kept: sent, waiting, dead, being sent, a pause and a trace; never to be changed.

INSERT INTO meta (name, value) VALUES ('handoff-schema-version', '2');
INSERT INTO meta (name, value) VALUES ('last-write-check', '2026-03-01T12:00:00+00:00');

INSERT INTO deliveries (id, source, received_at, address, encoding, body_sha256, event, fields, slot, fingerprint, repeats, last_repeat_at)
VALUES ('old1', 'wandb', 1772366400000000, '192.0.2.7', 'hex', '00', 'ADD_ARTIFACT_ALIAS', '{"alias":"production"}', 'slot', 'one', 2, 1772366420000000);
INSERT INTO deliveries (id, source, received_at, address, encoding, body_sha256, event, fields, slot, fingerprint)
VALUES ('old2', 'wandb', 1772366460000000, NULL, NULL, '11', NULL, '{}', 'slot', 'two');

INSERT INTO dispatches (id, delivery_id, repository, event_type, client_payload, key, lane, accepted_at, state, due_at,
                        ended_at, fence, attempts_begun, attempts_used, doubts, doubt_since, possibly_duplicated, reason, detail, run_url)
VALUES ('old1-1', 'old1', 'acme/deploy', 'go', '{"a":1}', 'k1', 'lane', 1772366400000000, 'sent', NULL,
        1772366401000000, 2, 2, 2, 1, 1772366400000000, TRUE, 'sent', '204', 'https://github.example/run');
INSERT INTO dispatches (id, delivery_id, repository, event_type, client_payload, key, lane, accepted_at, state, due_at,
                        ended_at, fence, attempts_begun, attempts_used, doubts, doubt_since, possibly_duplicated, reason, detail, run_url)
VALUES ('old1-2', 'old1', 'acme/gone', 'go', '{"a":1}', 'k2', 'other', 1772366400000000, 'dead', NULL,
        1772366401000000, 1, 1, 1, 0, NULL, FALSE, 'github-404', 'no such repository', NULL);
INSERT INTO dispatches (id, delivery_id, repository, event_type, client_payload, key, lane, accepted_at, state, due_at,
                        ended_at, fence, attempts_begun, attempts_used, doubts, doubt_since, possibly_duplicated, reason, detail, run_url,
                        overtakes, crashes, redeliveries, redelivered_at)
VALUES ('old2-1', 'old2', 'acme/deploy', 'go', '{"a":2}', 'k3', 'lane', 1772366460000000, 'pending', 1772366465000000,
        NULL, 1, 1, 1, 0, NULL, FALSE, 'unreachable', 'connection refused', NULL,
        TRUE, 1, 1, 1772366462000000);
INSERT INTO dispatches (id, delivery_id, repository, event_type, client_payload, key, lane, accepted_at, state, due_at,
                        ended_at, fence, attempts_begun, attempts_used, doubts, doubt_since, possibly_duplicated, reason, detail, run_url)
VALUES ('old2-2', 'old2', 'acme/other', 'go', '{"a":2}', 'k4', 'third', 1772366460000000, 'sending', 1772366520000000,
        NULL, 1, 1, 0, 0, NULL, FALSE, NULL, NULL, NULL);

INSERT INTO attempts (dispatch_id, number, started_at, ended_at, outcome, reason, detail, status)
VALUES ('old1-1', 1, 1772366400000000, 1772366400500000, 'ambiguous', 'github-502', 'Bad Gateway', 502);
INSERT INTO attempts (dispatch_id, number, started_at, ended_at, outcome, reason, detail, status)
VALUES ('old1-1', 2, 1772366400700000, 1772366401000000, 'sent', 'sent', '204', 204);
INSERT INTO attempts (dispatch_id, number, started_at, ended_at, outcome, reason, detail, status)
VALUES ('old1-2', 1, 1772366400000000, 1772366401000000, 'refused', 'github-404', 'no such repository', 404);
INSERT INTO attempts (dispatch_id, number, started_at, ended_at, outcome, reason, detail, status)
VALUES ('old2-1', 1, 1772366460000000, 1772366460100000, 'retry', 'unreachable', 'connection refused', NULL);
INSERT INTO attempts (dispatch_id, number, started_at, ended_at, outcome, reason, detail, status)
VALUES ('old2-2', 1, 1772366460000000, NULL, NULL, NULL, NULL, NULL);

INSERT INTO rejections (at, source, address, reason, status) VALUES (1772366400000000, 'wandb', '192.0.2.9', 'unauthorized', 401);

INSERT INTO pauses (scope, until, failures, reason) VALUES ('acme/gone', NULL, 2, 'github-502');
