# First of three: begins the branch. The working folder is a clone of the Workspace, on the branch of the Task.
echo "Hello. This file was begun by $KELOS_TASK on $(date -u +%FT%TZ)." >kelos-greeting.txt
git add kelos-greeting.txt
git commit --quiet --message "greeting: begin"
git push --quiet origin HEAD
