/* The state directory: STATE/boxes/ID/box.json and STATE/boxes/ID/root. */
#ifndef SANDBOXD_STORE_H
#define SANDBOXD_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

/* Makes or opens the state directory and takes its lock; false with a reason. */
bool store_open(const char *dir, char **why);
/* Removes the state directory if it is temporary. */
void store_close(void);

char *store_box_dir(const char *id);
char *store_root(const char *id);

/* A new sandbox's directory, still without a root. */
bool store_make_dir(const char *id, char **why);
/* Its root directory; what it holds already stays.
 * own_system: it has its programs and libraries itself and sees none of the host's. */
bool store_make_root(const char *id, uid_t uid, bool own_system, char **why);
/* Makes every mount point a real directory or file again: what a sandbox left
 * there (a symlink, say) must not direct a mount elsewhere. */
bool store_prepare_root(const char *id, uid_t uid, bool own_system, char **why);

/* Makes one more mount point, a directory. */
bool store_mount_point(const char *id, const char *path, uid_t uid, char **why);

/* Replaces the file at once, or leaves the old one. */
bool store_save_json(const char *path, const json_t *doc);
bool store_save(const char *id, const json_t *doc);
/* Calls back with each saved sandbox. */
void store_load(void (*found)(const char *id, json_t *doc));

/* Removes a directory tree, following no symlink. */
void store_remove_tree(const char *path);
/* The same in a child process, out of the way of the loop. The path is free at
 * once. A directory that somebody holds a lock on (flock), or whose "root" is
 * locked, is removed when the lock is gone. */
void store_remove_later(const char *path);
void store_remove_box_later(const char *id);
/* Waits for removals under way. */
void store_wait(void);

/* Host directories that sandboxes see read-only, and files and directories of /etc. */
extern const char *const store_host_dirs[];
extern const char *const store_host_etc[];
/* False for a symlink, as /bin is where /usr was merged. */
bool store_host_is_dir(const char *path);

#endif
