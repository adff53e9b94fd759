BEGIN TRANSACTION;
CREATE TABLE ablate_revision (
	version_num VARCHAR(32) NOT NULL, 
	PRIMARY KEY (version_num)
);
INSERT INTO "ablate_revision" VALUES('2');
CREATE TABLE attempts (
	job VARCHAR NOT NULL, 
	number INTEGER NOT NULL, 
	state VARCHAR NOT NULL, 
	cause VARCHAR, 
	reason VARCHAR NOT NULL, 
	started FLOAT NOT NULL, 
	seconds FLOAT, 
	host VARCHAR NOT NULL, 
	pid INTEGER NOT NULL, 
	details JSON, 
	PRIMARY KEY (job, number), 
	FOREIGN KEY(job) REFERENCES jobs (id)
);
INSERT INTO "attempts" VALUES('pretrain-db6ac0ca5de0',1,'done',NULL,'',1700000000.0,2.0,'node-1',100,'{"argv": ["ablate", "run"]}');
INSERT INTO "attempts" VALUES('pretrain-d71a1ce203ad',1,'done',NULL,'',1700000001.0,2.0,'node-1',101,'{"argv": ["ablate", "run"]}');
INSERT INTO "attempts" VALUES('pretrain-d6bdfabc1833',1,'failed','user','RuntimeError: no',1700000002.0,2.0,'node-1',102,'{"argv": ["ablate", "run"]}');
CREATE TABLE declarations (
	study VARCHAR NOT NULL, 
	seq INTEGER NOT NULL, 
	time FLOAT NOT NULL, 
	spec JSON NOT NULL, 
	PRIMARY KEY (study, seq), 
	FOREIGN KEY(study) REFERENCES studies (name)
);
INSERT INTO "declarations" VALUES('small',1,1.79528897837917065616e+09,'{"schema": 1, "name": "small", "question": "", "trainer": "synthetic", "command": null, "python": null, "trainer_must_be_committed": false, "base": {}, "axes": {"num_tokens": [16, 64]}, "design": [{"axes": null, "kind": "grid", "sample": null, "seed": 0}], "where": [], "seeds": [0, 1], "metric": {"name": "loss", "goal": "min", "noise_sd": null}, "claims": [], "resources": {"cpus": 1.0, "gpus": 0.0, "memory_gib": null, "nodes": 1, "minutes": null, "stall_minutes": null}, "hardware": null, "budget": {"trials": null, "train_flops": null, "device_hours": null, "money": null, "wall_minutes": null}, "law": null}');
CREATE TABLE events (
	seq INTEGER NOT NULL, 
	time FLOAT NOT NULL, 
	study VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	subject VARCHAR NOT NULL, 
	message VARCHAR NOT NULL, 
	PRIMARY KEY (seq)
);
INSERT INTO "events" VALUES(1,1.79528897839622664451e+09,'small','run started','small','');
INSERT INTO "events" VALUES(2,1.79528897839883971217e+09,'small','started','pretrain-db6ac0ca5de0','attempt 1');
INSERT INTO "events" VALUES(3,1.79528897840437626836e+09,'small','done','pretrain-db6ac0ca5de0','');
INSERT INTO "events" VALUES(4,1.79528897840860772136e+09,'small','started','pretrain-d71a1ce203ad','attempt 1');
INSERT INTO "events" VALUES(5,1.79528897843314385416e+09,'small','done','pretrain-d71a1ce203ad','');
INSERT INTO "events" VALUES(6,1.79528897843446922297e+09,'small','started','pretrain-d6bdfabc1833','attempt 1');
INSERT INTO "events" VALUES(7,1.79528897843601274492e+09,'small','failed','pretrain-d6bdfabc1833','RuntimeError: no');
INSERT INTO "events" VALUES(8,1.79528897844064617159e+09,'small','started','pretrain-e4d2a7bcb3fe','attempt 1');
CREATE TABLE identities (
	job VARCHAR NOT NULL, 
	identity JSON NOT NULL, 
	PRIMARY KEY (job), 
	FOREIGN KEY(job) REFERENCES jobs (id)
);
INSERT INTO "identities" VALUES('pretrain-db6ac0ca5de0','{"trainer": "synthetic", "stage": "pretrain", "version": "synthetic-1", "config": {"num_params": 1000000000.0, "peak_lr": 0.0001, "image_size": 224, "num_tokens": 16, "connector": "avg_pool", "mix": {"caption": 0.45, "interleaved": 0.45, "text": 0.1}, "noise_sd": 0.01, "steps": 10, "step_seconds": 0.0, "fail": "none"}, "seed": 0, "needs": {}}');
INSERT INTO "identities" VALUES('pretrain-d71a1ce203ad','{"trainer": "synthetic", "stage": "pretrain", "version": "synthetic-1", "config": {"num_params": 1000000000.0, "peak_lr": 0.0001, "image_size": 224, "num_tokens": 16, "connector": "avg_pool", "mix": {"caption": 0.45, "interleaved": 0.45, "text": 0.1}, "noise_sd": 0.01, "steps": 10, "step_seconds": 0.0, "fail": "none"}, "seed": 1, "needs": {}}');
INSERT INTO "identities" VALUES('pretrain-d6bdfabc1833','{"trainer": "synthetic", "stage": "pretrain", "version": "synthetic-1", "config": {"num_params": 1000000000.0, "peak_lr": 0.0001, "image_size": 224, "num_tokens": 64, "connector": "avg_pool", "mix": {"caption": 0.45, "interleaved": 0.45, "text": 0.1}, "noise_sd": 0.01, "steps": 10, "step_seconds": 0.0, "fail": "none"}, "seed": 0, "needs": {}}');
INSERT INTO "identities" VALUES('pretrain-e4d2a7bcb3fe','{"trainer": "synthetic", "stage": "pretrain", "version": "synthetic-1", "config": {"num_params": 1000000000.0, "peak_lr": 0.0001, "image_size": 224, "num_tokens": 64, "connector": "avg_pool", "mix": {"caption": 0.45, "interleaved": 0.45, "text": 0.1}, "noise_sd": 0.01, "steps": 10, "step_seconds": 0.0, "fail": "none"}, "seed": 1, "needs": {}}');
CREATE TABLE jobs (
	id VARCHAR NOT NULL, 
	stage VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	cause VARCHAR, 
	reason VARCHAR NOT NULL, 
	num_params BIGINT NOT NULL, 
	train_flops FLOAT NOT NULL, 
	attempts INTEGER NOT NULL, 
	started FLOAT, 
	seconds FLOAT, 
	PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES('pretrain-db6ac0ca5de0','pretrain','done',NULL,'',1000000000,245760000000000.0,1,1700000000.0,2.0);
INSERT INTO "jobs" VALUES('pretrain-d71a1ce203ad','pretrain','done',NULL,'',1000000000,245760000000000.0,1,1700000001.0,2.0);
INSERT INTO "jobs" VALUES('pretrain-d6bdfabc1833','pretrain','failed','user','RuntimeError: no',1000000000,245760000000000.0,1,1700000002.0,2.0);
INSERT INTO "jobs" VALUES('pretrain-e4d2a7bcb3fe','pretrain','running',NULL,'',1000000000,245760000000000.0,1,1.79528897843636727326e+09,NULL);
CREATE TABLE leases (
	study VARCHAR NOT NULL, 
	epoch BIGINT NOT NULL, 
	beats BIGINT NOT NULL, 
	owner VARCHAR, 
	host VARCHAR NOT NULL, 
	pid INTEGER NOT NULL, 
	taken FLOAT NOT NULL, 
	beaten FLOAT NOT NULL, 
	PRIMARY KEY (study)
);
INSERT INTO "leases" VALUES('small',1,0,'ablate run small.yaml','node-1',99,1.79528897839399862292e+09,1.79528897839399862292e+09);
CREATE TABLE meta (
	"key" VARCHAR NOT NULL, 
	value VARCHAR NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('schema','2');
CREATE TABLE metrics (
	job VARCHAR NOT NULL, 
	"key" VARCHAR NOT NULL, 
	step BIGINT NOT NULL, 
	value FLOAT, 
	kind VARCHAR NOT NULL, 
	PRIMARY KEY (job, "key"), 
	FOREIGN KEY(job) REFERENCES jobs (id)
);
INSERT INTO "metrics" VALUES('pretrain-db6ac0ca5de0','loss',3,6.66666666666666629659e-01,'finite');
INSERT INTO "metrics" VALUES('pretrain-d71a1ce203ad','loss',3,6.66666666666666629659e-01,'finite');
CREATE TABLE points (
	job VARCHAR NOT NULL, 
	attempt INTEGER NOT NULL, 
	"key" VARCHAR NOT NULL, 
	step BIGINT NOT NULL, 
	value FLOAT, 
	kind VARCHAR NOT NULL, 
	PRIMARY KEY (job, attempt, "key", step)
)
 WITHOUT ROWID

;
INSERT INTO "points" VALUES('pretrain-d6bdfabc1833',1,'loss',1,2.0,'finite');
INSERT INTO "points" VALUES('pretrain-d6bdfabc1833',1,'loss',2,1.0,'finite');
INSERT INTO "points" VALUES('pretrain-d6bdfabc1833',1,'loss',3,6.66666666666666629659e-01,'finite');
INSERT INTO "points" VALUES('pretrain-d71a1ce203ad',1,'loss',1,2.0,'finite');
INSERT INTO "points" VALUES('pretrain-d71a1ce203ad',1,'loss',2,1.0,'finite');
INSERT INTO "points" VALUES('pretrain-d71a1ce203ad',1,'loss',3,6.66666666666666629659e-01,'finite');
INSERT INTO "points" VALUES('pretrain-db6ac0ca5de0',1,'loss',1,2.0,'finite');
INSERT INTO "points" VALUES('pretrain-db6ac0ca5de0',1,'loss',2,1.0,'finite');
INSERT INTO "points" VALUES('pretrain-db6ac0ca5de0',1,'loss',3,6.66666666666666629659e-01,'finite');
CREATE TABLE stale_trials (
	study VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	place INTEGER NOT NULL, 
	arm VARCHAR NOT NULL, 
	seed BIGINT NOT NULL, 
	levels JSON NOT NULL, 
	changes JSON NOT NULL, 
	config JSON NOT NULL, 
	chain JSON NOT NULL, 
	final VARCHAR NOT NULL, 
	since FLOAT NOT NULL, 
	PRIMARY KEY (study, id), 
	FOREIGN KEY(study) REFERENCES studies (name), 
	FOREIGN KEY(final) REFERENCES jobs (id)
);
CREATE TABLE studies (
	name VARCHAR NOT NULL, 
	spec JSON NOT NULL, 
	axes JSON NOT NULL, 
	simulated BOOLEAN NOT NULL, 
	active BOOLEAN NOT NULL, 
	created FLOAT NOT NULL, 
	updated FLOAT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "studies" VALUES('small','{"schema": 1, "name": "small", "question": "", "trainer": "synthetic", "command": null, "python": null, "trainer_must_be_committed": false, "base": {}, "axes": {"num_tokens": [16, 64]}, "design": [{"axes": null, "kind": "grid", "sample": null, "seed": 0}], "where": [], "seeds": [0, 1], "metric": {"name": "loss", "goal": "min", "noise_sd": null}, "claims": [], "resources": {"cpus": 1.0, "gpus": 0.0, "memory_gib": null, "nodes": 1, "minutes": null, "stall_minutes": null}, "hardware": null, "budget": {"trials": null, "train_flops": null, "device_hours": null, "money": null, "wall_minutes": null}, "law": null}','{"num_tokens": [16, 64]}',1,1,1.79528897837917065616e+09,1.79528897844064617159e+09);
CREATE TABLE trials (
	study VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	place INTEGER NOT NULL, 
	arm VARCHAR NOT NULL, 
	seed BIGINT NOT NULL, 
	levels JSON NOT NULL, 
	changes JSON NOT NULL, 
	config JSON NOT NULL, 
	chain JSON NOT NULL, 
	final VARCHAR NOT NULL, 
	PRIMARY KEY (study, id), 
	UNIQUE (study, arm, seed), 
	FOREIGN KEY(study) REFERENCES studies (name), 
	FOREIGN KEY(final) REFERENCES jobs (id)
);
INSERT INTO "trials" VALUES('small','base.s0-db6ac0ca',0,'base',0,'{"num_tokens": 16}','{"num_tokens": 16}','{"num_params": 1000000000.0, "peak_lr": 0.0001, "image_size": 224, "num_tokens": 16, "connector": "avg_pool", "mix": {"caption": 0.45, "interleaved": 0.45, "text": 0.1}, "noise_sd": 0.01, "steps": 10, "step_seconds": 0.0, "fail": "none"}','["pretrain-db6ac0ca5de0"]','pretrain-db6ac0ca5de0');
INSERT INTO "trials" VALUES('small','base.s1-d71a1ce2',1,'base',1,'{"num_tokens": 16}','{"num_tokens": 16}','{"num_params": 1000000000.0, "peak_lr": 0.0001, "image_size": 224, "num_tokens": 16, "connector": "avg_pool", "mix": {"caption": 0.45, "interleaved": 0.45, "text": 0.1}, "noise_sd": 0.01, "steps": 10, "step_seconds": 0.0, "fail": "none"}','["pretrain-d71a1ce203ad"]','pretrain-d71a1ce203ad');
INSERT INTO "trials" VALUES('small','num_tokens=64.s0-d6bdfabc',2,'num_tokens=64',0,'{"num_tokens": 64}','{"num_tokens": 64}','{"num_params": 1000000000.0, "peak_lr": 0.0001, "image_size": 224, "num_tokens": 64, "connector": "avg_pool", "mix": {"caption": 0.45, "interleaved": 0.45, "text": 0.1}, "noise_sd": 0.01, "steps": 10, "step_seconds": 0.0, "fail": "none"}','["pretrain-d6bdfabc1833"]','pretrain-d6bdfabc1833');
INSERT INTO "trials" VALUES('small','num_tokens=64.s1-e4d2a7bc',3,'num_tokens=64',1,'{"num_tokens": 64}','{"num_tokens": 64}','{"num_params": 1000000000.0, "peak_lr": 0.0001, "image_size": 224, "num_tokens": 64, "connector": "avg_pool", "mix": {"caption": 0.45, "interleaved": 0.45, "text": 0.1}, "noise_sd": 0.01, "steps": 10, "step_seconds": 0.0, "fail": "none"}','["pretrain-e4d2a7bcb3fe"]','pretrain-e4d2a7bcb3fe');
CREATE INDEX ix_events_study ON events (study);
CREATE INDEX ix_trials_final ON trials (final);
CREATE INDEX ix_stale_trials_final ON stale_trials (final);
COMMIT;
