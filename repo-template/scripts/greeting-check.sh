# Second of three: finds what the first one pushed, and adds to it.
grep '^Hello' kelos-greeting.txt
echo "It was checked by $KELOS_TASK on branch $KELOS_BRANCH." >>kelos-greeting.txt
git commit --quiet --all --message "greeting: check"
git push --quiet origin HEAD
