BEGIN TRANSACTION;
CREATE TABLE chain (
  genesis TEXT NOT NULL,                       -- its SHA-256 comes before the first row's hash
  sequence INTEGER NOT NULL,                   -- of the last row
  hash TEXT NOT NULL                           -- of the last row
);
INSERT INTO "chain" VALUES('{"made_at":"2026-11-25T13:27:57+00:00","nonce":"3e85bea95437f4e6c370a4b36f93ee94"}',5,'70a14d913a3313c9e60887da03d87800ef7582971ba91c7d7ec44293e59b02c8');
CREATE TABLE results (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,  -- ascending; never reused
  body TEXT NOT NULL,                          -- the whole result, canonical JSON
  hash TEXT NOT NULL,                          -- SHA-256(hash before, newline, body)
  verdict TEXT GENERATED ALWAYS AS (json_extract(body, '$.verdict')),
  sample TEXT GENERATED ALWAYS AS (json_extract(body, '$.sample')),
  taken_at TEXT GENERATED ALWAYS AS (json_extract(body, '$.taken_at'))
);
INSERT INTO "results" VALUES(1,'{"boot_id":"39daeb86-91e1-4e77-8410-0bb7c6286f3b","bundle_id":"0000000000000000","camera":{},"caveat":"","confidence":0.97,"coverage":0.12,"engine":"tflite","faults":[],"frame_sha256":"","gates":{"confidence_least":0.75},"mask_sha256":"","note":"","probabilities":{"benign":0.01,"early_pre_b":0.01,"pre_b":0.97,"pro_b":0.01},"quality":{"focus":12.5},"reasons":[],"sample":"S-0001","sequence":1,"software":"0.1.0","source":"f.png","taken_at":"2026-01-02T03:04:05.678+00:00","timings_ms":{"total":10.1},"uptime_s":44423.047,"verdict":"pre_b"}','f7b1341dd31a93d421d83cf1dc3f3bc48a714bf5454a0b5e978d9caedcd52f6f');
INSERT INTO "results" VALUES(2,'{"boot_id":"39daeb86-91e1-4e77-8410-0bb7c6286f3b","bundle_id":"0000000000000000","camera":{},"caveat":"","confidence":0.4,"coverage":0.12,"engine":"tflite","faults":[],"frame_sha256":"","gates":{"confidence_least":0.75},"mask_sha256":"","note":"stain B","probabilities":{"benign":0.01,"early_pre_b":0.01,"pre_b":0.97,"pro_b":0.01},"quality":{"focus":12.5},"reasons":["out of focus"],"sample":"S-0002","sequence":2,"software":"0.1.0","source":"f.png","taken_at":"2026-01-02T03:04:05.678+00:00","timings_ms":{"total":10.1},"uptime_s":44423.072,"verdict":"inconclusive"}','54467e1a21d6c82b4af38b884798bb5ba96db36fd9d8d0b75ffeb84ea31d33d9');
INSERT INTO "results" VALUES(3,'{"boot_id":"39daeb86-91e1-4e77-8410-0bb7c6286f3b","bundle_id":"0000000000000000","camera":{},"caveat":"","confidence":0.97,"coverage":0.12,"engine":"tflite","faults":[],"frame_sha256":"","gates":{"confidence_least":0.75},"mask_sha256":"","note":"","probabilities":{"benign":0.01,"early_pre_b":0.01,"pre_b":0.97,"pro_b":0.01},"quality":{"focus":12.5},"reasons":[],"sample":"S-0001","sequence":3,"software":"0.1.0","source":"f.png","taken_at":"2026-01-02T03:04:05.678+00:00","timings_ms":{"total":10.1},"uptime_s":44423.076,"verdict":"pre_b"}','29cc193967193c2b67f12c72daf2e8d8b3611f204983942108eb561fc31b1259');
INSERT INTO "results" VALUES(4,'{"boot_id":"39daeb86-91e1-4e77-8410-0bb7c6286f3b","bundle_id":"0000000000000000","camera":{},"caveat":"","confidence":0.4,"coverage":0.12,"engine":"tflite","faults":[],"frame_sha256":"","gates":{"confidence_least":0.75},"mask_sha256":"","note":"stain B","probabilities":{"benign":0.01,"early_pre_b":0.01,"pre_b":0.97,"pro_b":0.01},"quality":{"focus":12.5},"reasons":["out of focus"],"sample":"S-0002","sequence":4,"software":"0.1.0","source":"f.png","taken_at":"2026-01-02T03:04:05.678+00:00","timings_ms":{"total":10.1},"uptime_s":44423.079,"verdict":"inconclusive"}','dd261c6c5c59c24a2ce1977e98c79959faf46bff71fec300ce6a9bcb1ccea446');
INSERT INTO "results" VALUES(5,'{"boot_id":"39daeb86-91e1-4e77-8410-0bb7c6286f3b","bundle_id":"0000000000000000","camera":{},"caveat":"","confidence":0.97,"coverage":0.12,"engine":"tflite","faults":[],"frame_sha256":"","gates":{"confidence_least":0.75},"mask_sha256":"","note":"","probabilities":{"benign":0.01,"early_pre_b":0.01,"pre_b":0.97,"pro_b":0.01},"quality":{"focus":12.5},"reasons":[],"sample":"","sequence":5,"software":"0.1.0","source":"f.png","taken_at":"2026-01-02T03:04:05.678+00:00","timings_ms":{"total":10.1},"uptime_s":44423.088,"verdict":"pre_b"}','70a14d913a3313c9e60887da03d87800ef7582971ba91c7d7ec44293e59b02c8');
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('results',5);
COMMIT;
PRAGMA user_version=4;
